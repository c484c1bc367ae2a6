"""Optimizers from elsewhere under the bundled trainer: run, or refused before data and weights are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from freezeplan.diagnostics import DiagnosticError
from freezeplan.runs.events import Event, StepDone
from freezeplan.spec.reading import load_spec
from freezeplan.train.run import train
from tests.train.tiny import toy_spec

REFUSED = {
    "TwoFaced": "has other weights for evaluation",
    "Asking": "cannot take a step on gradients alone",
    "Private": "keeps `taken` for itself",
    "Keeping": "keeps a object (`projector`) of each tensor",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_the_trainer_cannot_drive_is_refused_with_its_place(
    kind: str, toy: Path, tmp_path: Path
) -> None:
    spec = toy_spec(toy, optimizer={"class": f"tests.foreign_optimizers:{kind}"})
    with pytest.raises(DiagnosticError) as caught:
        train(spec, tmp_path / "run")
    (item,) = caught.value.diagnostics
    assert (item.code, item.where) == ("FP402", "optimizer.class")
    assert REFUSED[kind] in item.message


def test_a_run_logs_every_group_of_both(toy: Path, tmp_path: Path) -> None:
    tables = {
        "class": "tests.foreign_optimizers:Counting",
        "lr": 0.05,
        "matrices": {"name": "muon", "match": "heads", "except": "@bias", "lr": 0.02},
    }
    seen: list[Event] = []
    train(toy_spec(toy, optimizer=tables), tmp_path / "run", seen.append)
    step = next(event for event in seen if isinstance(event, StepDone))
    assert step.rates == {"heads/matrices": 0.02, "heads/no_decay": 0.05}


def test_an_absent_package_is_said_at_its_line(toy: Path, tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    written = f'''[model]
source = "{toy / "bert"}"
[optimizer]
class = "lion_not_there:Lion"
[[rule]]
match = "backbone"
state = "frozen"
[[rule]]
match = "heads"
state = "trainable"
[[task]]
name = "topic"
data = {{ train = "{toy / "train.jsonl"}", label = "topic" }}
'''
    path.write_text(written, "utf-8")
    with pytest.raises(DiagnosticError) as caught:
        train(load_spec(path), tmp_path / "run")
    (item,) = caught.value.diagnostics
    assert (item.code, item.span.line, item.span.column) == ("FP421", 4, 9)
