"""Specs that someone wrote as the candidates of a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from freezeplan.choose.comparing import Limits
from freezeplan.choose.given import compare_specs
from freezeplan.diagnostics import DiagnosticError
from freezeplan.runs.verify import verify_run
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec
from tests.train.language import PROMPT, language_spec, save_language_model, write_language_data
from tests.train.tiny import toy_data, toy_spec


def spec_of(toy: Path, **tables: Any) -> Spec:
    task = {"name": "topic", "data": toy_data(toy, "topic"), "dropout": 0.0}
    train = {"epochs": 2, "batch_size": 32, "seed": 5}
    return load_spec(toy_spec(toy, **{"task": [task], "train": train} | tables))


def test_specs_are_trained_as_they_are_written(toy: Path, tmp_path: Path) -> None:
    everything = [{"match": "**", "state": "trainable"}, {"match": "@pooler", "state": "frozen"}]
    phases = [{"epochs": 1}, {"epochs": 2, "schedule": {"name": "constant"}}]
    specs = {
        "frozen": spec_of(toy),
        "short": spec_of(toy, rule=everything, optimizer={"lr": 1e-3}, train={"epochs": 1, "batch_size": 32}),
        "phases": spec_of(toy, phase=phases, train={"batch_size": 32}),
    }
    found = compare_specs(specs, tmp_path / "c", Limits(seconds=1e9))
    assert (found.epochs, found.rungs) == (3, [1, 2, 3])
    assert {item.name: item.epochs for item in found.candidates} == {"frozen": 2, "short": 1, "phases": 3}
    assert all(trial.seed == 5 for trial in found.trials)
    assert found.verdict is not None
    flops = {item.name: item.flops for item in found.candidates}
    assert flops["frozen"] < flops["short"]
    first = found.trials[0]
    assert verify_run(tmp_path / "c" / first.run).holds


def test_specs_with_other_data_or_in_steps_are_refused(toy: Path, tmp_path: Path) -> None:
    mood = [{"name": "topic", "data": toy_data(toy, "mood")}]
    for other in (spec_of(toy, task=mood), spec_of(toy, phase=[{"steps": 5}], train={"batch_size": 32})):
        with pytest.raises(DiagnosticError) as caught:
            compare_specs({"a": spec_of(toy), "b": other}, tmp_path / "c")
        assert caught.value.diagnostics[0].code == "FP598"


def test_specs_of_language_models_are_compared_by_their_perplexity(tmp_path: Path) -> None:
    folder, model = write_language_data(tmp_path), save_language_model(tmp_path / "model")
    values = {rate: language_spec(folder, model, PROMPT, optimizer={"lr": rate}) for rate in (1e-6, 6e-3)}
    specs = {f"at {rate}": load_spec(value) for rate, value in values.items()}
    found = compare_specs(specs, tmp_path / "c")
    assert found.verdict is not None and found.verdict.best == "at 0.006"
    assert found.verdict.rows[0].score < 0.0
