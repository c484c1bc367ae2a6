"""Tables of a report: numbers as they are written, and every class with what is taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from freezeplan.diagnostics.wording import NOTHING, counted, format_count
from freezeplan.render.written import short_rate
from freezeplan.report.grid_chart import cell_text
from freezeplan.report.line_chart import short
from freezeplan.report.records import ClassScores, FinalScore, ReportedPhase, RunReport, TaskCourse

MOST_CLASSES = 20
"""Of more classes the table is folded away."""
WIDEST = 12
"""Most classes whose confusion is shown as a matrix."""
MOST_PAIRS = 20


@dataclass(frozen=True)
class PageTable:
    """Hold a table: ``numbers`` are the columns that hold numbers, ``marks`` the rows that stand out, by class."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...] = ()
    marks: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.marks:
            object.__setattr__(self, "marks", ("",) * len(self.rows))


@dataclass(frozen=True)
class HeatTable:
    """Hold a confusion matrix: labels, and of each true one the counts with their shares of its row in percent."""

    caption: str
    labels: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]


def written(value: float | None) -> str:
    """Write a measured value, a dash where there is none."""
    return NOTHING if value is None else short(value)


def score_table(scores: Sequence[FinalScore], *, finished: bool) -> PageTable:
    """Return a row per task and metric, a column per split: a run that goes on has the scores of its last epoch."""
    splits = list(dict.fromkeys(item.split for item in scores))
    values = {(item.task, item.metric, item.split): written(item.value) for item in scores}
    keys = list(dict.fromkeys((item.task, item.metric) for item in scores))
    rows = tuple(
        (task, name, *(values.get((task, name, split), NOTHING) for split in splits)) for task, name in keys
    )
    caption = (
        f"Scores {'of the weights that the run ended with' if finished else 'after the last epoch so far'}"
    )
    return PageTable(caption, ("task", "metric", *splits), rows, _from(2, splits))


def _from(first: int, columns: Sequence[object]) -> tuple[int, ...]:
    return tuple(range(first, first + len(columns)))


def cell_table(run: RunReport) -> PageTable:
    """Return what every phase does with every row of the plan."""
    rows = run.plan.rows if run.plan else ()
    heads = [f"{number} {phase.name}" for number, phase in enumerate(run.phases, 1)]
    lines = tuple(
        (row.name, format_count(row.parameters), *(cell_text(cell) for cell in row.cells))
        for row in reversed(rows)
    )
    caption = "Rate of each layer in each phase, before the schedule's factor; the top of the model above"
    return PageTable(caption, ("layer", "parameters", *heads), lines, (1,))


def phase_table(phases: Sequence[ReportedPhase], parameters: int) -> PageTable:
    """Return what each phase is: its length, how much trains, how it ended; its schedule where they are not all one."""
    several = len({phase.schedule for phase in phases}) > 1
    heads = ("phase", "planned", *(("schedule",) if several else ()), "trainable", "ran", "ended")
    rows = tuple(
        (
            f"{number} {phase.name}",
            phase.length,
            *((phase.schedule,) if several else ()),
            format_count(phase.trainable),
            counted(phase.steps, "step") if phase.started is not None else "not begun",
            phase.ended or NOTHING,
        )
        for number, phase in enumerate(phases, 1)
    )
    return PageTable(
        f"Phases, and how many of {counted(parameters, 'parameter')} train",
        heads,
        rows,
        (len(heads) - 3, len(heads) - 2),
    )


def proof_table(phases: Sequence[ReportedPhase]) -> PageTable:
    """Return what each phase proved, and how its frozen part ran."""
    told = [(number, phase) for number, phase in enumerate(phases, 1) if phase.statement]
    rows = tuple((f"{number} {phase.name}", phase.statement, phase.execution) for number, phase in told)
    return PageTable("What each phase proved", ("phase", "evidence", "frozen part"), rows)


def rate_table(run: RunReport) -> PageTable:
    """Return the rates that each group really had, a column per phase that was run."""
    phases = [phase for phase in run.phases if phase.rates]
    rates = [{group: (low, high) for group, low, high in phase.rates} for phase in phases]
    groups = list(dict.fromkeys(group for phase in rates for group in phase))
    rows = tuple((group, *(_span(phase.get(group)) for phase in rates)) for group in groups)
    return PageTable("Rates that the groups had", ("group", *(phase.name for phase in phases)), rows)


def _span(rates: tuple[float, float] | None) -> str:
    if rates is None:
        return "frozen"
    return " to ".join(dict.fromkeys(short_rate(float(f"{rate:.3g}")) for rate in rates))


def course_table(task: TaskCourse) -> PageTable:
    """Return a task's epochs, one per row."""
    metrics = list(dict.fromkeys(name for item in task.epochs for name, _ in item.metrics))
    heads = ("epoch", "step", "phase", "training loss", *(f"validation {name}" for name in metrics))
    rows = []
    for item in task.epochs:
        found = dict(item.metrics)
        values = (written(found.get(name)) for name in metrics)
        rows.append((str(item.epoch), format_count(item.step), item.phase, written(item.loss), *values))
    return PageTable(f"Task {task.task}, epoch by epoch", heads, tuple(rows), (1, *_from(3, heads[3:])))


def class_table(item: ClassScores) -> PageTable:
    """Return the scores of each class, and their means below."""
    rows = tuple(
        (row.name, written(row.precision), written(row.recall), written(row.f1), format_count(row.support))
        for row in item.rows
    )
    marks = tuple("mean" if row.is_mean else "" for row in item.rows)
    heads = (item.what, "precision", "recall", "F1", "support")
    return PageTable(f"{item.task}, {item.split} data", heads, rows, (1, 2, 3, 4), marks)


def confusion_table(item: ClassScores) -> HeatTable | None:
    """Return the confusion of few classes as a matrix, None of many or where nothing was counted."""
    labels = tuple(row.name for row in item.rows if not row.is_mean)
    if not item.confusion or len(labels) > WIDEST:
        return None
    counts = {(true, taken): number for true, taken, number in item.confusion}
    rows = tuple((true, _shares([counts.get((true, taken), 0) for taken in labels])) for true in labels)
    return HeatTable(
        f"{item.task}, {item.split} data: rows by their true and their predicted class", labels, rows
    )


def _shares(counts: Sequence[int]) -> tuple[tuple[str, int], ...]:
    whole = max(sum(counts), 1)
    return tuple((format_count(number), round(100 * number / whole)) for number in counts)


def pair_table(item: ClassScores) -> PageTable | None:
    """Return what is taken for what most often, for classes that are too many for a matrix."""
    wrong = sorted(
        ((number, true, taken) for true, taken, number in item.confusion if true != taken),
        key=lambda found: (-found[0], *found[1:]),
    )
    if not wrong or confusion_table(item):
        return None
    rows = tuple((true, taken, format_count(number)) for number, true, taken in wrong[:MOST_PAIRS])
    more = f", the first {MOST_PAIRS} of {len(wrong)} pairs" if len(wrong) > MOST_PAIRS else ""
    return PageTable(f"What is taken for what most often{more}", ("true", "predicted", "rows"), rows, (2,))


def drift_table(run: RunReport) -> PageTable:
    """Return how the metrics of frozen heads changed."""
    items = run.proof.drift if run.proof else ()
    rows = tuple(
        (
            item.task,
            item.metric,
            item.since,
            item.until,
            written(item.before),
            written(item.after),
            f"{item.after - item.before:+.4g}",
        )
        for item in items
    )
    heads = ("task", "metric", "frozen since", "until", "before", "after", "change")
    caption = "Scores on validation data of heads that were frozen while the backbone under them trained"
    return PageTable(caption, heads, rows, (4, 5, 6))
