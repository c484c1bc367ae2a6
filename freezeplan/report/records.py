"""What a report holds, as plain records: the page and the JSON are both made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

FORMAT = 1
Fact = tuple[str, str]
Point = tuple[int, float]
"""An optimizer step of the whole run, and a value there; NaN where it was none."""


@dataclass(frozen=True)
class GridCell:
    """Say what a phase does with a row: which share of its parameters trains, at which rates (None: frozen)."""

    share: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class GridRow:
    """Hold a layer, or what stands beside the layers, with a cell for each phase."""

    name: str
    parameters: int
    cells: tuple[GridCell, ...]


@dataclass(frozen=True)
class ReportedPhase:
    """Put together what the plan says of a phase, and what the run did in it.

    ``steps`` is 0, and ``ended``, ``execution`` and ``statement`` are empty, where it has not begun or no evidence
    tells; ``seconds``, ``cpu_seconds`` and ``peak_bytes`` are None where none were recorded. ``rates`` are the lowest
    and the highest that each group had. ``started`` is the step of the run before its first.
    """

    name: str
    length: str
    schedule: str
    trainable: int
    optimizer_state_bytes: int
    started: int | None = None
    steps: int = 0
    ended: str = ""
    execution: str = ""
    statement: str = ""
    seconds: float | None = None
    cpu_seconds: float | None = None
    peak_bytes: int | None = None
    rates: tuple[tuple[str, float, float], ...] = ()


@dataclass(frozen=True)
class ReportedPlan:
    """Hold the plan as it is drawn: rows from the input up, facts and advice in words."""

    rows: tuple[GridRow, ...]
    facts: tuple[Fact, ...]
    advice: tuple[str, ...]
    parameters: int
    trainable: int


@dataclass(frozen=True)
class Series:
    """Hold a named line; each of its parts is drawn on its own, with nothing between them."""

    name: str
    parts: tuple[tuple[Point, ...], ...]


@dataclass(frozen=True)
class EpochScores:
    """Say how a task stood after an epoch: its mean training loss (None: no step), its validation metrics."""

    epoch: int
    step: int
    phase: str
    loss: float | None
    metrics: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class TaskCourse:
    """Hold how a task went: the losses of its training steps, each the mean of ``every`` of them, and its epochs."""

    task: str
    losses: tuple[Point, ...]
    every: int
    epochs: tuple[EpochScores, ...]


@dataclass(frozen=True)
class RunCourse:
    """Hold what the log says over the steps of a run.

    ``boundaries`` are the last steps of phases that are over, in order. Groups that have the same rate at every step
    share a line of ``rates``.
    """

    steps: int
    boundaries: tuple[tuple[int, str], ...]
    tasks: tuple[TaskCourse, ...]
    rates: tuple[Series, ...]
    score: tuple[Point, ...] = ()


@dataclass(frozen=True)
class FinalScore:
    """Name one metric of one task on one split, its value, and of how many rows (None: not recorded)."""

    split: str
    task: str
    metric: str
    value: float
    rows: int | None


@dataclass(frozen=True)
class ClassRow:
    """Hold the scores of one class, label or type, or of a mean over them."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    is_mean: bool = False


@dataclass(frozen=True)
class ClassScores:
    """Hold the scores of the classes of a task on a split; ``confusion`` counts true, predicted, rows."""

    split: str
    task: str
    what: str
    rows: tuple[ClassRow, ...]
    confusion: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True)
class DriftedHead:
    """Say how a metric of a frozen head changed while the backbone under it trained."""

    task: str
    since: str
    until: str
    metric: str
    before: float
    after: float


@dataclass(frozen=True)
class Proof:
    """Hold what the evidence says: its statement, whether all holds, what moved that must not, what did not move."""

    statement: str
    holds: bool
    violations: tuple[str, ...]
    unmoved: tuple[tuple[str, tuple[str, ...]], ...]
    drift: tuple[DriftedHead, ...]


@dataclass(frozen=True)
class RunReport:
    """Hold all that is told of one run; ``faults`` say what of its folder cannot be read or was changed."""

    name: str
    folder: str
    status: str
    standing: str
    model: str
    facts: tuple[Fact, ...]
    faults: tuple[str, ...]
    plan: ReportedPlan | None
    phases: tuple[ReportedPhase, ...]
    course: RunCourse | None
    scores: tuple[FinalScore, ...]
    classes: tuple[ClassScores, ...]
    proof: Proof | None
    seconds: float | None
    cost: Mapping[str, Any] | None
    environment: tuple[Fact, ...]


@dataclass(frozen=True)
class PlanDifferences:
    """Hold what a run's plan does differently from that of the first run, a line each; ``reason`` says why not."""

    name: str
    lines: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True)
class MeasuredReport:
    """Hold the record that a comparison or a probe wrote, and what follows from it in words."""

    name: str
    file: str
    lines: tuple[str, ...]
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Report:
    """Hold everything on a page, in the order in which it was asked for."""

    runs: tuple[RunReport, ...] = ()
    differences: tuple[PlanDifferences, ...] = ()
    comparisons: tuple[MeasuredReport, ...] = ()
    probes: tuple[MeasuredReport, ...] = ()

    def to_record(self) -> dict[str, Any]:
        """Return the report as plain JSON types; what is no finite number is null."""
        return {"format_version": FORMAT, **_plain(asdict(self))}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value
