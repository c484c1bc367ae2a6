"""What a watcher of a run sees: a live view on a terminal, whole lines anywhere else."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
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
    Working,
)
from freezeplan.train.progress import ProgressView
from freezeplan.train.progress_table import score_lines
from freezeplan.train.pulse import EVERY, Pulse

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


def test_a_pipe_gets_a_small_table_per_epoch_and_nothing_per_step() -> None:
    lines = shown([STARTED, STEP, STEP, EPOCH]).splitlines()
    assert lines[2:] == [
        "epoch 1/2 (step 6 of 12)",
        "  task    loss  validation loss  accuracy  macro-F1",
        "  mood  0.5000           0.3100     0.875     0.850",
    ]


def test_rates_come_on_request() -> None:
    stream = io.StringIO()
    ProgressView(Console(file=stream, width=60), rates=True)(EPOCH)
    assert stream.getvalue().splitlines()[3:] == [
        f"  group{' ' * (len(GROUP) - 5)}     rate",
        f"  heads{' ' * (len(GROUP) - 5)}    1e-03",
        f"  {GROUP}  2.5e-05",
    ]


def test_five_tasks_are_five_short_lines() -> None:
    tasks = {f"task_number_{number}": 1.0 for number in range(5)}
    scores = {task: SCORES["mood"] for task in tasks}
    lines = shown([EpochDone(1, 2, 6, tasks, scores, RATES, Path("runs/a"))]).splitlines()
    assert len(lines) == 7 and max(map(len, lines)) < 80


def test_what_was_not_measured_is_a_dash() -> None:
    lines = score_lines({"mood": {"loss": 0.3}, "other": {"accuracy": 1.0}}, {"mood": 0.5, "topic": 1.0})
    assert [line.split() for line in lines[1:]] == [
        ["mood", "0.5000", "0.3000", "-"],
        ["topic", "1.0000", "-", "-"],
        ["other", "-", "-", "1.000"],
    ]


def test_a_pipe_hears_what_goes_on_at_least_every_half_minute() -> None:
    now, stream = [0.0], io.StringIO()
    view = ProgressView(Console(file=stream, width=60), clock=lambda: now[0])
    events = [Working("loading the model"), STARTED, STEP, StoreProgress(8, 64), Working("evaluating", 3, 9)]
    for event in events:
        for seconds in (29.0, 1.0):
            now[0] += seconds
            view(event)
    assert [line for line in stream.getvalue().splitlines() if not line.startswith(("task", "training"))] == [
        "loading the model",
        "epoch 1/2, mood loss 0.6543, step: 3 of 12",
        "storing the frozen prefix: 8 of 64",
        "evaluating: 3 of 9",
    ]


def test_a_pulse_looks_by_itself_while_nothing_else_is_said() -> None:
    now, lines, said = [0.0], [], threading.Event()

    def line(text: str) -> None:
        lines.append(text)
        said.set()

    pulse = Pulse(line, clock=lambda: now[0])
    pulse.now, now[0] = "loading the model", EVERY
    pulse.start()
    assert said.wait(20.0)
    pulse.stop()
    assert lines == ["loading the model"]


def test_a_terminal_shows_what_is_done_before_the_first_step() -> None:
    text = shown([Working("loading the model"), STARTED], force_terminal=True, color_system=None)
    assert "loading the model" in text


def test_a_terminal_shows_losses_and_every_groups_rate() -> None:
    text = shown([STARTED, STEP], force_terminal=True, color_system=None)
    assert "0.6543" in text
    assert "upper[abc]" in text and "2.5e-05" in text and "1e-03" in text
    assert "epoch 1/2" in text and "3/12" in text


def test_the_end_of_a_run_says_what_was_proved_and_where_it_is() -> None:
    end = [Evaluated("test", SCORES), EvidenceReady("4 of 4 moved", True), Finished(Path("runs/a"), SCORES)]
    lines = shown([STARTED, *end]).splitlines()
    assert lines[-5:] == [
        "test",
        "  task    loss  accuracy  macro-F1",
        "  mood  0.3100     0.875     0.850",
        "evidence: 4 of 4 moved",
        "finished: the run is in runs/a",
    ]


def test_evidence_against_the_plan_cannot_be_overlooked() -> None:
    assert "EVIDENCE AGAINST THE PLAN: 1 of 3" in shown([EvidenceReady("1 of 3 frozen tensors MOVED", False)])


def test_a_run_that_only_evaluates_says_so() -> None:
    started = RunStarted({"mood": {"test": 24}}, (), 0, 0, "cpu", 64, True)
    assert "everything is frozen: nothing will be learned" in shown([started])


def test_a_run_in_half_precision_says_so() -> None:
    assert "2 epochs, 12 steps, on cpu, texts up to 64 tokens" in shown([STARTED])
    assert "on cpu in bf16, texts" in shown([replace(STARTED, precision="bf16")])


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
    assert "storing the frozen prefix: 32 of 64" in shown(events[:2], force_terminal=True, color_system=None)
