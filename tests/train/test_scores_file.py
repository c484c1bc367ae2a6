"""A finished run's folder says in full how its final weights do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from freezeplan.runs.run_files import SCORES
from freezeplan.runs.verify import verify_run
from freezeplan.train.run import train
from tests.train.kinds import evaluating, heads_only, restoring


@pytest.mark.parametrize("make", [heads_only, restoring, evaluating])
def test_it_holds_what_the_run_ended_with(toy: Path, tmp_path: Path, make) -> None:
    result = train(make(toy), tmp_path / "run")
    found = json.loads((tmp_path / "run" / SCORES).read_text("utf-8"))
    for split, scores in (("validation", result.validation), ("test", result.test)):
        assert {task: item["metrics"] for task, item in found[split].items()} == scores
        for task, item in found[split].items():
            each, confusion = item["classes"]["each"], item["confusion"]
            rows = sum(count for row in confusion.values() for count in row.values())
            assert rows == item["rows"] == sum(values["support"] for values in each.values())
            hits = sum(row.get(label, 0) for label, row in confusion.items())
            assert hits / rows == scores[task]["accuracy"]
            assert item["classes"]["averages"]["macro"]["f1"] == pytest.approx(scores[task]["macro_f1"])
    assert not verify_run(tmp_path / "run").diagnostics
