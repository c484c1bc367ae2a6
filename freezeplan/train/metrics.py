"""When a metric ends a phase or a run: pure functions of the values seen so far."""

from __future__ import annotations

from collections.abc import Mapping

from freezeplan.apply.ending import best_of, is_better, reason_to_end
from freezeplan.plan.records import Target

__all__ = ["Scores", "best_of", "is_better", "metric_value", "reached", "reason_to_end"]

Scores = Mapping[str, Mapping[str, float]]
"""Metrics by task, such as ``{"topic": {"accuracy": 0.9, "macro_f1": 0.89, "loss": 0.3}}``."""


def metric_value(metric: str, scores: Scores) -> float:
    """Return the value of a metric named ``task/name``.

    >>> metric_value("topic/loss", {"topic": {"loss": 0.3}})
    0.3
    """
    task, _, name = metric.partition("/")
    return scores[task][name]


def reached(target: Target | None, scores: Scores) -> bool:
    """Whether the scores reach the target of ``stop_when``; False without one."""
    return target is not None and metric_value(target.metric, scores) >= target.at_least
