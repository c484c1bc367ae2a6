"""Shows a run on a terminal: steps, losses and the rate of every group; a small table per epoch elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.status import Status
from rich.table import Table
from rich.text import Text

from freezeplan.diagnostics.wording import counted, format_percent, format_rate
from freezeplan.render.visible import visible
from freezeplan.runs.events import (
    BestRestored,
    EpochDone,
    Evaluated,
    Event,
    EvidenceReady,
    ExecutionChosen,
    Finished,
    HeadDrifted,
    Interrupted,
    PhaseDone,
    PhaseStarted,
    Predicted,
    Resumed,
    RunStarted,
    StepDone,
    StoppedEarly,
    StoreProgress,
    UpdatesLost,
    Working,
)
from freezeplan.train.progress_table import rate_lines, score_lines
from freezeplan.train.pulse import Pulse


class ProgressView:
    """Observe a run and print it to a rich console; use it as a context manager and as the run's observer.

    On a terminal a bar with losses and rates is redrawn in place. On anything else (a pipe, a file) only
    whole lines are printed, none of them shortened, and in a context one at least every 30 seconds of
    ``clock``: what the run is at. ``rates`` adds every group's learning rate to each epoch.
    """

    def __init__(
        self, console: Console, *, rates: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.console = console
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self.live: Live | None = None
        self.status: Status | None = None
        self.pulse = Pulse(self._print_line, clock)
        self.losses: dict[str, float] = {}
        self.rates: Mapping[str, float] = {}
        self.with_rates = rates
        self.epochs = self.steps = 0

    def __enter__(self) -> ProgressView:
        if not self.console.is_terminal:
            self.pulse.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pulse.stop()
        self._stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Working):
            self._work(event)
        elif isinstance(event, RunStarted):
            self._start(event)
        elif isinstance(event, StepDone):
            self._step(event)
        elif isinstance(event, UpdatesLost):
            share = format_percent(event.lost, event.elements)
            self._print(
                "updates", [f"{share} of those of the first {event.steps} steps are lost in bfloat16"]
            )
        elif isinstance(event, EpochDone):
            self._epoch(event)
        elif isinstance(event, Resumed):
            self._resumed(event)
        elif isinstance(event, (PhaseStarted, PhaseDone, HeadDrifted)):
            self._print(*_phase_line(event))
        elif isinstance(event, (ExecutionChosen, StoreProgress)):
            self._show_store(event)
        elif isinstance(event, (StoppedEarly, BestRestored)):
            self._print(
                "the run ends here" if isinstance(event, StoppedEarly) else "restored", [_end_of(event)]
            )
        elif isinstance(event, Predicted):
            counts = (f"{counted(rows, 'test row')} of task {task}" for task, rows in event.rows.items())
            self._print("predicted, without labels", [*counts, f"in {event.place}"])
        elif isinstance(event, Evaluated):
            self._print_lines([event.split, *score_lines(event.scores), *_score_line(event.score)])
        else:
            self._end(event)

    def _work(self, event: Working) -> None:
        """Say what goes on: on a terminal in place, elsewhere when half a minute has passed without a line."""
        self.pulse.now = what = event.what + (f": {event.done:,} of {event.of:,}" if event.of else "")
        if not self.console.is_terminal:
            self.pulse.beat()
        elif self.live is not None:
            self.bar.update(self.bar.tasks[0].id, description=what)
        elif self.status is None:
            self.status = self.console.status(Text(what))
            self.status.start()
        else:
            self.status.update(Text(what))

    def _epoch(self, event: EpochDone) -> None:
        of = f" of phase {visible(event.phase, keep='')}" if event.phase else ""
        title = f"epoch {event.epoch}/{event.epochs}{of} (step {event.step:,} of {self.steps:,})"
        rates = rate_lines(event.rates) if self.with_rates else []
        lines = [*score_lines(event.scores, event.losses), *_score_line(event.score)]
        self._print_lines([title, *lines, *rates])

    def _start(self, event: RunStarted) -> None:
        self._stop()
        for task, rows in event.rows.items():
            self._print(f"task {task}", [", ".join(f"{count} {split} rows" for split, count in rows.items())])
        read = "images" if event.max_length is None else f"texts up to {counted(event.max_length, 'token')}"
        where = f"on {event.device}{_formats(event)}, {read}"
        if event.evaluation_only:
            self._print("everything is frozen", [f"nothing will be learned: evaluation only, {where}"])
            return
        self.epochs, self.steps = event.epochs, event.steps
        for task in event.only_evaluated:
            self._print(f"task {task}", ["its head and the backbone are frozen: evaluated, not trained"])
        self._print(
            "training", [f"{counted(event.epochs, 'epoch')}, {counted(event.steps, 'step')}, {where}"]
        )
        if self.console.is_terminal:
            self.bar.add_task(f"epoch 1/{event.epochs}", total=event.steps)
            self.live = Live(self.bar, console=self.console, transient=True, refresh_per_second=8)
            self.live.start()

    def _resumed(self, event: Resumed) -> None:
        for name, reason in event.skipped.items():
            self._print(f"checkpoint {name} is damaged", [reason])
        where = f"in phase {event.phase}, " if event.phase else ""
        done = f"{where}after {counted(event.epoch, 'epoch')} and {counted(event.step, 'step')}"
        self._print("resumed", [f"from {event.checkpoint}, {done}"])
        if self.live is not None:
            self.bar.update(self.bar.tasks[0].id, completed=event.step)

    def _show_store(self, event: ExecutionChosen | StoreProgress) -> None:
        if isinstance(event, ExecutionChosen):
            again = [f"{name} computed anew: its file was {fault}" for name, fault in event.rebuilt.items()]
            self._print("execution", [event.statement, *again])
        else:
            self._work(Working("storing the frozen prefix", event.done, event.inputs))

    def _step(self, event: StepDone) -> None:
        if self.live is None:
            losses = ", ".join(f"{task} loss {loss:.4f}" for task, loss in event.losses.items())
            epoch = f"epoch {event.epoch}/{self.epochs}"
            self._work(Working(f"{epoch}, {losses}, step", event.step, event.steps))
            return
        self.losses.update(event.losses)
        self.rates = event.rates
        progress = self.bar.tasks[0]
        self.bar.update(progress.id, completed=event.step, description=f"epoch {event.epoch}/{self.epochs}")
        self.live.update(Group(self.bar, self._numbers()))

    def _numbers(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for task, loss in self.losses.items():
            table.add_row(Text("loss"), Text(task, overflow="fold"), Text(f"{loss:.4f}", justify="right"))
        for group, rate in self.rates.items():
            table.add_row(
                Text("rate"),
                Text(visible(group, keep=""), overflow="fold"),
                Text(format_rate(float(f"{rate:.3g}")), justify="right"),
            )
        return table

    def _end(self, event: EvidenceReady | Interrupted | Finished) -> None:
        self._stop()
        if isinstance(event, EvidenceReady):
            self._print("evidence" if event.holds else "EVIDENCE AGAINST THE PLAN", [event.statement])
        elif isinstance(event, Finished):
            self._print("finished", [f"the run is in {event.folder}"])

    def _print(self, title: str, parts: list[str]) -> None:
        self._print_lines([visible(f"{title}: {'; '.join(part for part in parts if part)}", keep="")])

    def _print_lines(self, lines: Sequence[str]) -> None:
        self.pulse.heard()
        for line in lines:
            self._print_line(line)

    def _print_line(self, line: str) -> None:
        self.console.print(Text(line), soft_wrap=True)

    def _stop(self) -> None:
        for shown in (self.live, self.status):
            if shown is not None:
                shown.stop()
        self.live = self.status = None


def _formats(event: RunStarted) -> str:
    computed = "" if event.precision == "float32" else f" in {event.precision}"
    kept = f", weights that never train kept in {event.frozen_dtype}" if event.frozen_dtype else ""
    return f"{computed}{kept}{', layers run again in the backward pass' if event.recomputes else ''}"


def _end_of(event: StoppedEarly | BestRestored) -> str:
    if isinstance(event, StoppedEarly):
        return event.reason
    return f"epoch {event.epoch}, the best by {event.metric} ({event.value:.4f})"


def _score_line(score: float | None) -> list[str]:
    return [] if score is None else [f"score  {score:.4f}"]


def _phase_line(event: PhaseStarted | PhaseDone | HeadDrifted) -> tuple[str, list[str]]:
    if isinstance(event, HeadDrifted):
        return f"drift of the frozen head {event.task}", [_drift(event)]
    title = f"phase {event.number}/{event.phases} {event.name}"
    if isinstance(event, PhaseDone):
        back = [f"epoch {event.restored} brought back"] if event.restored is not None else []
        return f"{title} over", [*back, event.line]
    counts = ((event.thawed, "thaw"), (event.refrozen, "freeze again"))
    changes = [f"{counted(count, 'tensor')} {what}" for count, what in counts if count]
    if not event.tasks:
        return title, [", ".join(changes), "no task learns in it: it is evaluated once"]
    length = f"{counted(event.epochs, 'epoch')}, {counted(event.steps, 'step')}"
    length = f"at most {length}" if event.can_end_early else length
    return title, [", ".join(changes), length, f"training {', '.join(event.groups)}"]


def _drift(event: HeadDrifted) -> str:
    shown = [
        f"{name} {value:.4f} -> {event.after[name]:.4f} ({event.after[name] - value:+.4f})"
        for name, value in event.before.items()
    ]
    return f"since phase {event.since}: {', '.join(shown)}"
