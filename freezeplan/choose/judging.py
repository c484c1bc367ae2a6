"""Which candidates can be told apart, which is the cheapest that is good enough, and which is worth its cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, variance

from freezeplan.choose.comparison_records import ChosenStrategy, ComparedRow
from freezeplan.choose.outcomes import Outcome

Outcomes = Mapping[str, Outcome]
APART = 2.0
"""Standard errors of a difference from which on two scores count as told apart."""


@dataclass(frozen=True)
class Contender:
    """Hold what is known of one candidate: its outcomes by seed, and what it cost.

    Costs are compared by ``flops``, as predicted: seconds would be others each time.
    """

    name: str
    outcomes: Mapping[int, Outcomes]
    flops: int
    cpu_seconds: float
    seconds: float
    epochs: int
    peak_bytes: int
    trained: int
    finished: bool
    same_for_all_seeds: bool = False
    weights: Mapping[str, float] | None = None

    @property
    def score(self) -> float:
        """The mean score over tasks and seeds."""
        return fmean(mean_score(outcomes, self.weights) for outcomes in self.outcomes.values())

    @property
    def error(self) -> float:
        """The standard error of the score: of the rows, and, of several seeds, what they differ by."""
        found = self.outcomes.values()
        rows = [mean_error({task: item.error for task, item in each.items()}, self.weights) for each in found]
        return _with_seeds(rows, [mean_score(each, self.weights) for each in found])

    def of_seed(self, seed: int) -> Outcomes | None:
        """Return the outcomes of a seed."""
        if self.same_for_all_seeds:
            return next(iter(self.outcomes.values()))
        return self.outcomes.get(seed)


def mean_score(outcomes: Outcomes, weights: Mapping[str, float] | None = None) -> float:
    """Return the mean score over tasks, each with its weight (None: all alike)."""
    return _mean({task: outcome.score for task, outcome in outcomes.items()}, weights)


def _mean(values: Mapping[str, float], weights: Mapping[str, float] | None) -> float:
    given = weights or dict.fromkeys(values, 1.0)
    total = sum(abs(given[task]) for task in values)
    return sum(given[task] * value for task, value in values.items()) / total


def mean_error(errors: Mapping[str, float], weights: Mapping[str, float] | None = None) -> float:
    """Return the standard error of a mean of independent scores.

    >>> mean_error({"a": 0.03, "b": 0.04})
    0.025
    """
    given = weights or dict.fromkeys(errors, 1.0)
    total = sum(abs(given[task]) for task in errors)
    return sqrt(sum((given[task] * error) ** 2 for task, error in errors.items())) / total


def _with_seeds(errors: Sequence[float], values: Sequence[float]) -> float:
    """Return the error of a mean over seeds whose rows are the same: that of the rows does not fall with them."""
    spread = variance(values) / len(values) if len(values) > 1 else 0.0
    return sqrt(fmean(errors) ** 2 + spread)


def difference(one: Contender, other: Contender) -> tuple[float, float]:
    """Return how much higher the one scores than the other on the same rows, and the difference's standard error.

    Where both ran with the same seeds these are paired; what the seeds differ by counts towards the error.
    """
    if one.name == other.name:
        return 0.0, 0.0
    pairs = [
        (mine, theirs)
        for seed in {**one.outcomes, **other.outcomes}
        if (mine := one.of_seed(seed)) is not None and (theirs := other.of_seed(seed)) is not None
    ]
    found = [{task: mine[task].beyond(theirs[task]) for task in mine} for mine, theirs in pairs]
    weights = one.weights
    values = [_mean({task: value for task, (value, _) in tasks.items()}, weights) for tasks in found]
    errors = [mean_error({task: error for task, (_, error) in tasks.items()}, weights) for tasks in found]
    return fmean(values), _with_seeds(errors, values)


def close_to_best(contenders: Sequence[Contender]) -> list[Contender]:
    """Return the best, and all that cannot be told apart from it by two standard errors of the difference."""
    best = best_of(contenders)
    return [item for item in contenders if _within(best, item, APART)]


def best_of(contenders: Sequence[Contender]) -> Contender:
    """Return the contender with the highest score, the cheapest of equal ones."""
    return max(contenders, key=lambda item: (item.score, -item.flops))


def _within(best: Contender, other: Contender, errors: float) -> bool:
    short, error = difference(best, other)
    return short <= errors * error


def judged(contenders: Sequence[Contender]) -> ChosenStrategy:
    """Return the verdict over all that were tried; only those that ran to their end can be best.

    The cheapest within one standard error of the best is chosen (Breiman, Friedman, Olshen and Stone,
    Classification and Regression Trees, 1984, section 3.4.3).
    """
    finished = [item for item in contenders if item.finished]
    best = best_of(finished)
    enough = [item for item in finished if _within(best, item, 1.0)]
    chosen = min(enough, key=lambda item: (item.flops, -item.score))
    alike = [item.name for item in close_to_best(finished) if item is not best]
    rows = [_row(item, best, contenders) for item in contenders]
    rows.sort(key=lambda row: (not row.finished, -row.score))
    return ChosenStrategy(tuple(rows), best.name, chosen.name, tuple(alike))


def _row(item: Contender, best: Contender, contenders: Sequence[Contender]) -> ComparedRow:
    short, error = difference(best, item)
    beaten = any(
        other.score >= item.score
        and other.flops <= item.flops
        and (other.score, other.flops) != (item.score, item.flops)
        for other in contenders
        if other.finished
    )
    return ComparedRow(
        candidate=item.name,
        score=item.score,
        error=item.error,
        short=short,
        short_error=error,
        flops=item.flops,
        cpu_seconds=item.cpu_seconds,
        seconds=item.seconds,
        epochs=item.epochs,
        seeds=len(item.outcomes),
        peak_bytes=item.peak_bytes,
        trained=item.trained,
        finished=item.finished,
        front=item.finished and not beaten,
    )
