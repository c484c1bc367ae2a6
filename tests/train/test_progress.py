"""What a watcher of a run sees: a live view on a terminal, whole lines anywhere else."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from freezeplan.runs.events import (
    EpochDone,
    Evaluated,
    Event,
    EvidenceReady,
    ExecutionChosen,
    Finished,
    Interrupted,
    RunStarted,
    StepDone,
    StoreProgress,
)
from freezeplan.train.progress import ProgressView

GROUP = "upper[abc] layers with a very long name that no terminal of sixty columns can hold"
RATES = {"heads": 1e-3, GROUP: 2.5e-5}
SCORES = {"mood": {"accuracy": 0.875, "macro_f1": 0.85, "loss": 0.31}}
STARTED = RunStarted({"mood": {"train": 96, "test": 24}}, tuple(RATES), 2, 12, "cpu", 64, False)
STEP = StepDone(1, 3, 12, {"mood": 0.65432}, RATES)
EPOCH = EpochDone(1, 2, 6, {"mood": 0.5}, SCORES, RATES, Path("runs/a"))


def shown(events: list[Event], **options: object) -> str:
    stream = io.StringIO()
    with ProgressView(Console(file=stream, width=60, **options)) as view:
        for event in events:
            view(event)
    return stream.getvalue()


def test_a_pipe_gets_one_whole_line_per_epoch_and_none_per_step() -> None:
    lines = shown([STARTED, STEP, STEP, EPOCH]).splitlines()
    assert len(lines) == 3
    assert lines[2] == (
        "epoch 1/2: mood loss 0.5000; validation mood accuracy 0.875, macro-F1 0.850, loss 0.3100; "
        f"heads lr 1e-03, {GROUP} lr 2.5e-05"
    )


def test_a_terminal_shows_losses_and_every_groups_rate() -> None:
    text = shown([STARTED, STEP], force_terminal=True, color_system=None)
    assert "0.6543" in text
    assert "upper[abc]" in text and "2.5e-05" in text and "1e-03" in text
    assert "epoch 1/2" in text and "3/12" in text


def test_the_end_of_a_run_says_what_was_proved_and_where_it_is() -> None:
    end = [Evaluated("test", SCORES), EvidenceReady("4 of 4 moved", True), Finished(Path("runs/a"), SCORES)]
    lines = shown([STARTED, *end]).splitlines()
    assert lines[-3:] == [
        "test: mood accuracy 0.875, macro-F1 0.850, loss 0.3100",
        "evidence: 4 of 4 moved",
        "finished: the run is in runs/a",
    ]


def test_evidence_against_the_plan_cannot_be_overlooked() -> None:
    assert "EVIDENCE AGAINST THE PLAN: 1 of 3" in shown([EvidenceReady("1 of 3 frozen tensors MOVED", False)])


def test_a_run_that_only_evaluates_says_so() -> None:
    started = RunStarted({"mood": {"test": 24}}, (), 0, 0, "cpu", 64, True)
    assert "everything is frozen: nothing will be learned" in shown([started])


def test_the_live_view_is_gone_after_an_interrupt() -> None:
    stream = io.StringIO()
    view = ProgressView(Console(file=stream, width=60, force_terminal=True))
    for event in (STARTED, STEP, Interrupted(0, None)):
        view(event)
    assert view.live is None


def test_what_runs_the_frozen_part_is_said_in_one_line_and_the_build_on_a_terminal_alone() -> None:
    chosen = ExecutionChosen("top", "stored prefix k=1 of 2, 3.0 KiB in memory", {"k=1": "altered"})
    events = [STARTED, StoreProgress(32, 64), chosen]
    lines = shown(events).splitlines()
    assert lines[-1] == (
        "execution: stored prefix k=1 of 2, 3.0 KiB in memory; k=1 computed anew: its file was altered"
    )
    assert not any("32/64" in line for line in lines)
    assert "storing the frozen prefix 32/64" in shown(events[:2], force_terminal=True, color_system=None)
