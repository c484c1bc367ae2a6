"""What a task is: what a kind of task says of itself, and one file per kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from freezeplan.tasks.causal_lm import CausalLM
from freezeplan.tasks.classification import Classification
from freezeplan.tasks.embedding import Embedding
from freezeplan.tasks.kind import Answering, Metric, Scorer, TaskKind, merged
from freezeplan.tasks.multi_label import MultiLabel
from freezeplan.tasks.regression import Regression
from freezeplan.tasks.similarity import Similarity
from freezeplan.tasks.token_classification import TokenClassification

__all__ = [
    "TASK_KINDS",
    "Answering",
    "Metric",
    "Scorer",
    "TaskKind",
    "falls",
    "merged",
    "metric_names",
    "task_kind",
]

TASK_KINDS: Mapping[str, TaskKind] = {
    kind.name: kind
    for kind in (
        CausalLM(),
        Classification(),
        Embedding(),
        MultiLabel(),
        Regression(),
        Similarity(),
        TokenClassification(),
    )
}
"""Every kind of task, by its name in a spec."""
METRICS = {metric.name: metric for kind in TASK_KINDS.values() for metric in kind.metrics}


class HasKind(Protocol):
    """Something that names a kind of task: a task of a spec, or of a run."""

    @property
    def kind(self) -> str: ...


def task_kind(task: HasKind) -> TaskKind:
    """Return the kind of a task, with what its own keys say of it."""
    return TASK_KINDS[task.kind].of(task)


def metric_names() -> tuple[str, ...]:
    """Return the metrics of all kinds, each once."""
    return tuple(METRICS)


def falls(metric: str) -> bool:
    """Whether a metric, with or without its task, is better when it is smaller.

    >>> falls("topic/loss"), falls("accuracy")
    (True, False)
    """
    name = metric.rpartition("/")[2]
    return name in METRICS and METRICS[name].falls
