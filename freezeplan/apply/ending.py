"""When a metric ends a phase or a run: pure functions of the values seen so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from freezeplan.diagnostics.wording import counted
from freezeplan.plan.records import Length, Target, Weights
from freezeplan.spec.validators import SCORE
from freezeplan.tasks import falls

Scores = Mapping[str, Mapping[str, float]]
"""Metrics by task, such as ``{"topic": {"accuracy": 0.9, "macro_f1": 0.89, "loss": 0.3}}``."""


def falls_of(length: Length) -> bool:
    """Whether a smaller value of the metric that a length waits for is a better one.

    >>> falls_of(Length("until", 5, "topic/loss")), falls_of(Length("until", 5, "eval_spearman", mode="max"))
    (True, False)
    """
    return length.mode == "min" if length.mode else falls(length.metric or "")


def is_better(value: float, than: float, falls: bool) -> bool:
    """Whether a value is strictly better than another: smaller where the metric falls, as a loss does, else larger."""
    return value < than if falls else value > than


def best_of(values: Sequence[float], falls: bool) -> int:
    """Return the position of the best value, the first of equal ones.

    >>> best_of([0.5, 0.75, 0.75], falls=False), best_of([0.5, 0.25, 0.3], falls=True)
    (1, 1)
    """
    best = 0
    for position, value in enumerate(values):
        if is_better(value, values[best], falls):
            best = position
    return best


def reason_to_end(length: Length, values: Sequence[float]) -> str | None:
    """Say why a phase with ``until`` ends after the epochs whose metric had these values, None if it goes on.

    >>> length = Length("until", 5, "topic/accuracy", target=0.9, patience=2)
    >>> reason_to_end(length, [0.5, 0.6]), reason_to_end(length, [0.5, 0.95])
    (None, 'topic/accuracy 0.9500 reached the target 0.9')
    >>> reason_to_end(length, [0.6, 0.6, 0.5])
    'topic/accuracy did not improve for 2 epochs'
    """
    if length.metric is None or not values:
        return None
    value, metric = values[-1], length.metric
    if length.target is not None and (
        value == length.target or is_better(value, length.target, falls_of(length))
    ):
        return f"{metric} {value:.4f} reached the target {length.target:g}"
    waited = len(values) - 1 - best_of(values, falls_of(length))
    if length.patience is not None and waited >= length.patience:
        return f"{metric} did not improve for {counted(waited, 'epoch')}"
    return "it had its most epochs" if len(values) >= length.count else None


def metric_value(metric: str, scores: Scores, weights: Weights = ()) -> float:
    """Return the value of a metric named ``task/name``, or of the score, the mean of some with these weights.

    >>> metric_value("topic/loss", {"topic": {"loss": 0.3}})
    0.3
    """
    if metric == SCORE:
        return weighted_mean(weights, lambda part: metric_value(part, scores))
    task, _, name = metric.partition("/")
    return scores[task][name]


def score_of(scores: Scores, weights: Weights) -> float | None:
    """Return the score over several metrics, None where there is none, or one of its tasks was not evaluated.

    >>> score_of({"topic": {"accuracy": 0.5}}, (("topic/accuracy", 2.0),)), score_of({}, (("topic/accuracy", 2.0),))
    (0.5, None)
    """
    known = weights and all(metric.partition("/")[0] in scores for metric, _ in weights)
    return metric_value(SCORE, scores, weights) if known else None


def weighted_mean(weights: Weights, value_of: Callable[[str], float]) -> float:
    """Return the sum of weighted metrics over that of the weights, a negative one counted as positive there.

    >>> weighted_mean((("a/accuracy", 1.0), ("b/loss", -3.0)), {"a/accuracy": 0.75, "b/loss": 0.5}.__getitem__)
    -0.1875
    """
    total = sum(abs(weight) for _, weight in weights)
    return sum(weight * value_of(metric) for metric, weight in weights) / total


def reached(target: Target | None, scores: Scores, weights: Weights = ()) -> bool:
    """Whether the scores reach the target of ``stop_when``; False without one."""
    return target is not None and metric_value(target.metric, scores, weights) >= target.at_least
