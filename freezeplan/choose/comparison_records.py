"""What a comparison found, as plain records, and their form as JSON.

``comparison.json`` is written after every trial, so that a comparison that was stopped goes on from it:

- ``format_version``: 1; ``identity``: a hash of what must stay the same for it to go on.
- ``model``; ``tasks``: objects ``name``, ``kind``, ``metric``, ``weight`` (in the mean over the tasks); ``epochs`` of a
  whole run; ``thorough``: whether candidates are trained to their ends; ``rungs``: after how many epochs they are
  compared, of runs of their own that end there unless ``thorough``; ``budget``: ``{"seconds": …, "bytes": …}``, null
  where there is none; ``seeds``: the most per candidate; ``length``: the tokens of the usual text, null for images.
- ``candidates``: objects ``name``, ``words``, ``spec`` (of a whole run) and ``trial`` (of what is run); ``epochs`` (of
  a given spec, 0 elsewhere); ``flops``, ``seconds`` and ``peak_bytes`` of its whole run as predicted (0 bytes: not
  asked for); ``warm`` (the heads begin with linear probes), ``left_out`` (null, or why it was not run to its end),
  ``failed`` (an error of its own ended it), ``untried`` (what the others showed, or the length of a trial, speaks
  against it).
- ``trials``: objects ``candidate``, ``seed``, ``epochs`` (complete ones), ``run`` (its folder, below that of the file),
  ``scores`` by task (of the kind's first metric), ``cpu_seconds`` and ``seconds`` (of this part alone), ``trained``
  (parameters that any phase trains) and ``peak_bytes`` (the most memory of the process meanwhile, 0: not known), in the
  order in which they were done. The counts of the validation rows lie beside it in ``outcomes/RUN-EPOCHS.npz``.
- ``verdict``: null as long as it is not finished, else ``rows``, ``best``, ``chosen`` (the cheapest within one standard
  error of the best) and ``alike`` (those that cannot be told apart from the best). Each of ``rows``: ``candidate``,
  ``score``, ``error``, ``short`` and ``short_error`` (to the best, on the same rows), ``flops`` of a whole run,
  ``cpu_seconds``, ``seconds`` and ``epochs`` of its trials per seed, ``seeds``, ``peak_bytes``, ``trained``,
  ``finished``, ``front`` (nothing is both cheaper and better).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

FORMAT = 1


@dataclass
class StrategyCandidate:
    """Name one way of freezing, its spec (a file below the comparison's folder), and what it is predicted to cost."""

    name: str
    words: str
    spec: str
    warm: bool
    trial: str = ""
    epochs: int = 0
    flops: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    left_out: str | None = None
    failed: bool = False
    untried: bool = False


@dataclass(frozen=True)
class CandidateTrial:
    """Say how a candidate stood after some epochs with one seed."""

    candidate: str
    seed: int
    epochs: int
    run: str
    scores: Mapping[str, float]
    cpu_seconds: float
    seconds: float
    trained: int
    peak_bytes: int = 0

    @property
    def score(self) -> float:
        """The mean over the tasks, whatever their weights."""
        return sum(self.scores.values()) / len(self.scores)


@dataclass(frozen=True)
class ComparedRow:
    """Hold what is said of one candidate in the end."""

    candidate: str
    score: float
    error: float
    short: float
    short_error: float
    flops: int
    cpu_seconds: float
    seconds: float
    epochs: int
    seeds: int
    peak_bytes: int
    trained: int
    finished: bool
    front: bool


@dataclass(frozen=True)
class ChosenStrategy:
    """Hold the rows, the best one first, and which to choose."""

    rows: tuple[ComparedRow, ...]
    best: str
    chosen: str
    alike: tuple[str, ...]


@dataclass
class StrategyComparison:
    """Hold a comparison as far as it got."""

    identity: str
    model: str
    tasks: list[dict[str, Any]]
    epochs: int
    rungs: list[int]
    budget: dict[str, float | None]
    seeds: int
    candidates: list[StrategyCandidate]
    trials: list[CandidateTrial] = field(default_factory=list)
    verdict: ChosenStrategy | None = None
    thorough: bool = False
    length: int | None = None

    @property
    def weights(self) -> dict[str, float]:
        """What each task counts in the mean over them."""
        return {task["name"]: task.get("weight", 1.0) for task in self.tasks}

    @property
    def last_rung(self) -> int:
        """The epochs after which a candidate has nothing more to show."""
        return self.rungs[-1]

    def trial(self, candidate: str, seed: int, epochs: int) -> CandidateTrial | None:
        """Return the trial of a candidate that ended after so many epochs, None where there is none yet."""
        wanted = (candidate, seed, epochs)
        found = [item for item in self.trials if (item.candidate, item.seed, item.epochs) == wanted]
        return found[0] if found else None

    def last(self, candidate: str, seed: int) -> CandidateTrial | None:
        """Return the latest trial of a candidate with a seed."""
        found = [item for item in self.trials if (item.candidate, item.seed) == (candidate, seed)]
        return max(found, key=lambda item: item.epochs, default=None)

    def to_record(self) -> dict[str, Any]:
        """Return the object that ``comparison.json`` holds."""
        return {"format_version": FORMAT, **asdict(self)}


def comparison_from_record(record: Any) -> StrategyComparison:
    """Return what :meth:`Comparison.to_record` wrote down; raises ``ValueError`` for anything else."""
    try:
        values = dict(record)
        if values.pop("format_version") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        values["candidates"] = [StrategyCandidate(**item) for item in values["candidates"]]
        values["trials"] = [CandidateTrial(**item) for item in values["trials"]]
        found = values["verdict"]
        if found is not None:
            rows, alike = tuple(ComparedRow(**item) for item in found["rows"]), tuple(found["alike"])
            values["verdict"] = ChosenStrategy(**{**found, "rows": rows, "alike": alike})
        return StrategyComparison(**values)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"it does not hold what a comparison writes ({type(error).__name__}: {error})"
        ) from error
