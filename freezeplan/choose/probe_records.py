"""What a probe found, as plain records, and their form as JSON.

``probe.json`` is an object with these keys:

- ``format_version``: 1; a reader refuses any other number.
- ``model``: the model's label; ``layers``: the paths of the layers, in the order in which they run.
- ``tasks``: a list of objects ``task``, ``kind``, ``metric`` (larger is better), ``error`` (how standard errors were
  found: ``binomial`` or ``bootstrap``), ``rows`` (``{"train": …, "validation": …}``), ``depths``, ``baselines``,
  ``best`` and ``enough`` (both the ``depth`` of one of ``depths``).
- each of ``depths``: ``depth`` (layers below it; 0 is what enters the first layer), ``name``, ``width`` (numbers per
  row), ``score`` and ``error`` (a standard error) on the validation data, ``gain`` and ``gain_error`` over the depth
  before (null for the first), ``short`` and ``short_error`` (how much less than the best), ``strength`` (what was
  chosen: ``C`` of a logistic regression, ``1 / alpha`` of a ridge; null where nothing is fitted).
- each of ``baselines``: ``name``, ``score``, ``error``.
- ``left_out``: a list of objects ``task`` and ``reason``.
- ``cost``: ``extraction_cpu_seconds``, ``fitting_cpu_seconds``, ``inputs`` (how many were run), ``bytes``
  (of features).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

FORMAT = 1


@dataclass(frozen=True)
class Depth:
    """Say what a linear probe makes of the features at one depth, on the validation data."""

    depth: int
    name: str
    width: int
    score: float
    error: float
    gain: float | None
    gain_error: float | None
    short: float
    short_error: float
    strength: float | None


@dataclass(frozen=True)
class Baseline:
    """Name something that needs no network, and its score on the validation data."""

    name: str
    score: float
    error: float


@dataclass(frozen=True)
class TaskProbe:
    """Hold what the depths of the network hold of one task.

    ``best`` is the depth with the highest score, ``enough`` the first that falls short of it by no more than one
    standard error of the difference.
    """

    task: str
    kind: str
    metric: str
    error: str
    rows: Mapping[str, int]
    depths: tuple[Depth, ...]
    baselines: tuple[Baseline, ...]
    best: int
    enough: int

    def at(self, depth: int) -> Depth:
        """Return what was found at one depth."""
        return next(item for item in self.depths if item.depth == depth)


@dataclass(frozen=True)
class LeftOut:
    """Name a task that was not probed, and say why."""

    task: str
    reason: str


@dataclass(frozen=True)
class ProbeCost:
    """Say what a probe cost."""

    extraction_cpu_seconds: float
    fitting_cpu_seconds: float
    inputs: int
    bytes: int


@dataclass(frozen=True)
class ProbeReport:
    """Hold all that a probe found."""

    model: str
    layers: tuple[str, ...]
    tasks: tuple[TaskProbe, ...]
    left_out: tuple[LeftOut, ...]
    cost: ProbeCost

    def to_record(self) -> dict[str, Any]:
        """Return the object that ``probe.json`` holds."""
        return {"format_version": FORMAT, **asdict(self)}


def probe_from_record(record: Any) -> ProbeReport:
    """Return the probe that :meth:`ProbeReport.to_record` wrote down; raises ``ValueError`` for anything else."""
    try:
        if record["format_version"] != FORMAT:
            raise ValueError(f"its format is {record['format_version']}, and this version reads {FORMAT}")
        return ProbeReport(
            str(record["model"]),
            tuple(record["layers"]),
            tuple(_task(item) for item in record["tasks"]),
            tuple(LeftOut(**item) for item in record["left_out"]),
            ProbeCost(**record["cost"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it does not hold what a probe writes ({type(error).__name__}: {error})") from error


def _task(record: Mapping[str, Any]) -> TaskProbe:
    depths = tuple(Depth(**item) for item in record["depths"])
    baselines = tuple(Baseline(**item) for item in record["baselines"])
    found = TaskProbe(**{**record, "depths": depths, "baselines": baselines})
    known = {item.depth for item in depths}
    if not {found.best, found.enough} <= known:
        raise ValueError(f"task `{found.task}` names a depth that it does not list")
    return found
