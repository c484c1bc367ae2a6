"""Where a run stands: the numbers that, with tensors and random numbers, decide everything that follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from freezeplan.apply.ending import Scores, is_better
from freezeplan.tasks import falls


@dataclass(frozen=True)
class Measured:
    """One evaluation on validation data: in which phase, after how many of the run's epochs and steps."""

    phase: int
    epoch: int
    step: int
    scores: Scores


@dataclass
class Position:
    """Count what is done. All of it is plain numbers, so that it can be written and read back exactly.

    ``phase`` is the position of the current phase, ``phase_step`` and ``phase_epoch`` what is done of it;
    ``step`` and ``epoch`` count over the run. ``over`` tells that the phase has ended, and its evidence is
    taken. ``offsets`` holds the batches that each task had before the phase. ``sums`` holds, per task, the
    sum of all terms of its loss in the epoch so far and how many they are. ``history`` holds every evaluation.
    ``best`` is the step and the value of the best checkpoint by ``train.keep_best``. ``ended`` says why the run ended
    early. Where the plan freezes what has settled, ``norms`` holds the sums of gradients' norms of the epoch so far,
    ``outputs`` how alike rows were by what each layer put out an epoch ago, ``changes`` how much that changed in each
    epoch, ``frontier`` the phase up to which the layers have settled, and ``settled`` why. ``scale`` is the state of
    the losses' scale where there is one, ``skipped`` how many steps it left out. ``streams`` says where streamed rows
    go on.
    """

    phase: int = 0
    phase_step: int = 0
    phase_epoch: int = 0
    step: int = 0
    epoch: int = 0
    over: bool = False
    offsets: dict[str, int] = field(default_factory=dict)
    sums: dict[str, list[float]] = field(default_factory=dict)
    history: list[Measured] = field(default_factory=list)
    best: tuple[int, float] | None = None
    ended: str | None = None
    norms: list[list[float]] = field(default_factory=list)
    outputs: dict[str, list[float]] = field(default_factory=dict)
    changes: list[dict[str, float]] = field(default_factory=list)
    frontier: int = 0
    settled: str = ""
    scale: dict[str, float] = field(default_factory=dict)
    skipped: int = 0
    streams: dict[str, Any] = field(default_factory=dict)

    def complete_epoch(self, scores: Scores) -> None:
        """Count an epoch whose steps are counted already, with its scores on validation data."""
        self.epoch += 1
        self.phase_epoch += 1
        self.sums, self.norms = {}, []
        self.note(scores)

    def note(self, scores: Scores) -> None:
        """Remember an evaluation."""
        self.history.append(Measured(self.phase, self.epoch, self.step, scores))

    def next_phase(self, taken: Mapping[str, int]) -> None:
        """Go on to the next phase; ``taken`` counts the batches that each task has had by now."""
        self.offsets = {**self.offsets, **taken}
        self.phase += 1
        self.phase_step = self.phase_epoch = 0
        self.sums, self.outputs, self.over = {}, {}, False

    def measured(self, phase: int) -> list[Measured]:
        """Return the evaluations of one phase, in order."""
        return [item for item in self.history if item.phase == phase]

    def note_best(self, metric: str, value: float) -> None:
        """Note the current step as the best by a metric when it is strictly better than the best so far."""
        if self.best is None or is_better(value, self.best[1], falls(metric)):
            self.best = (self.step, value)

    def as_record(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def position_of(record: Mapping[str, Any]) -> Position:
    """Return the position that :meth:`Position.as_record` wrote."""
    values = {item.name: record[item.name] for item in fields(Position) if item.name in record}
    values["history"] = [Measured(**item) for item in record["history"]]
    values["best"] = tuple(record["best"]) if record["best"] else None
    return Position(**values)
