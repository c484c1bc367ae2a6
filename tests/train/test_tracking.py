"""What trackers are told of a run: numbers by their names, the plan, the evidence; and one that fails stops nothing."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from freezeplan.diagnostics import DiagnosticError
from freezeplan.runs.events import EpochDone, ignore_events
from freezeplan.runs.run_folder import RunFolder
from freezeplan.spec.reading import load_spec
from freezeplan.train import session, tracking
from freezeplan.train.resume import resume
from freezeplan.train.run import train
from tests.train.tiny import save_tiny_bert, toy_spec, write_toy_data


class Notebook(GeneralTracker):
    """A tracker of accelerate's that keeps what it is told."""

    name, requires_logging_directory = "tensorboard", True
    opened: list[Notebook]
    fails_at = -1

    def __init__(self, **given: Any) -> None:
        super().__init__()
        self.given, self.told, self.closed, self.facts = given, [], False, {}
        type(self).opened.append(self)

    @property
    def tracker(self) -> Any:
        """Itself."""
        return self

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Keep the facts."""
        self.facts = values

    def log(self, values: dict[str, Any], step: int | None = None, **more: Any) -> None:
        """Keep values, or fail."""
        if len(self.told) == self.fails_at:
            raise OSError("the network is down")
        self.told.append((step, values))

    def finish(self) -> None:
        """Note the end."""
        self.closed = True

    def steps_of(self, name: str) -> list[int]:
        """Return the steps at which a value was told."""
        return [step for step, values in self.told if name in values]


@pytest.fixture
def notebooks(monkeypatch: pytest.MonkeyPatch) -> list[Notebook]:
    """Put the notebook in TensorBoard's place; returns those that are opened."""
    Notebook.opened, Notebook.fails_at = [], -1
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "tensorboard", Notebook)
    monkeypatch.setitem(tracking.PACKAGES, "tensorboard", ("torch",))
    return Notebook.opened


def spec_in(folder: Path) -> Any:
    """Return a spec of two short epochs that is tracked."""
    save_tiny_bert(folder / "bert")
    write_toy_data(folder, train=32, other=8)
    return toy_spec(folder, train={"epochs": 2, "batch_size": 16, "report_to": ["tensorboard"]})


def stop_after_one(event: object) -> None:
    """Stop a run after its first epoch."""
    if isinstance(event, EpochDone):
        raise KeyboardInterrupt


def test_a_stopped_run_goes_on_in_the_same_place_and_is_told_each_step_once(
    notebooks: list[Notebook], tmp_path: Path
) -> None:
    spec = spec_in(tmp_path)
    assert train(spec, tmp_path / "run", stop_after_one).status == "interrupted"
    done = resume(tmp_path / "run")
    first, second = notebooks
    assert first.closed and second.closed
    assert first.given["run_name"] == second.given["run_name"]
    assert second.given["purge_step"] == first.steps_of("epoch")[-1] + 1
    steps = first.steps_of("epoch") + second.steps_of("epoch")
    assert steps == list(range(1, len(steps) + 1))
    assert first.facts["batch_size"] == 16 and not second.facts
    task = spec.task[0].name
    told = {name: value for _, values in second.told for name, value in values.items()}
    assert told[f"validation/{task}/accuracy"] == done.validation[task]["accuracy"]
    assert f"train/{task}/loss" in told and any(name.startswith("lr/") for name in told)
    assert told["evidence"] == done.evidence.statement and told["evidence_holds"] == 1
    assert "trainable" in told["plan"]


def test_a_tracker_that_fails_is_given_up_and_said_once(
    notebooks: list[Notebook], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Notebook.fails_at = 2
    with caplog.at_level(logging.WARNING, "freezeplan"):
        done = train(spec_in(tmp_path), tmp_path / "run")
    assert done.status == "finished"
    assert [line for line in caplog.messages if "told no more" in line] == [
        "`tensorboard` is told no more: the network is down"
    ]


def test_a_tracker_that_does_not_open_or_is_not_there_is_said_at_its_name(
    notebooks: list[Notebook], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load_spec(spec_in(tmp_path))
    monkeypatch.setattr(Notebook, "start", lambda self: 1 / 0)
    with pytest.raises(DiagnosticError, match=r"FP498.*division"):
        train(spec, tmp_path / "run")
    monkeypatch.setitem(tracking.PACKAGES, "tensorboard", ("no_such_package",))
    with pytest.raises(DiagnosticError, match=r"FP497.*pip install tensorboard") as caught:
        train(spec, tmp_path / "run")
    assert caught.value.diagnostics[0].where == "train.report_to[1]"


@pytest.mark.parametrize("first", [True, False])
def test_only_the_first_of_several_processes_tells_trackers(
    first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "Running", lambda *_: None)
    setup = SimpleNamespace(ranks=SimpleNamespace(first=first), spec=load_spec(spec_in(tmp_path)))
    begun = session.Session(setup, RunFolder(tmp_path / "run"), ignore_events)
    assert (begun.trackers is not None) is first is begun.folder.writes
