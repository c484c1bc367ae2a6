"""What the hub reads at the top of a card: YAML of facts that the run knows, and nothing that it does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from freezeplan.render.model_card import Score
from freezeplan.spec.tables import Task

METRICS = {
    "accuracy": "accuracy",
    "macro_f1": "f1",
    "micro_f1": "f1",
    "span_f1": "f1",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
}
"""What the hub calls a metric."""


@dataclass(frozen=True)
class Shipped:
    """Say what was exported: the class or graph, the code that uses it, the hub's names, the proof in a sentence.

    ``holds_head`` is false where only the backbone of the task is in it.
    """

    loads_as: str
    python: str
    library: str | None
    tag: str | None
    tags: tuple[str, ...]
    proof: str
    holds_head: bool = True


def front_matter(shipped: Shipped, base: str | None, task: Task, scores: Sequence[Score]) -> str:
    """Return the YAML of a card, between its two lines of dashes; ``base`` is the hub's model that was trained.

    No license is in it, and results only where the hub has the data: others can look them up there.
    """
    from huggingface_hub import ModelCardData

    results = list(_results(shipped, task, scores))
    hub = task.data.hub if task.data else None
    given = {
        "base_model": base,
        "library_name": shipped.library,
        "pipeline_tag": shipped.tag,
        "tags": ["freezeplan", *shipped.tags],
        "datasets": [hub] if hub else None,
        "eval_results": results or None,
        "model_name": task.name if results else None,
    }
    text = ModelCardData(**{key: value for key, value in given.items() if value is not None}).to_yaml()
    return text if text.endswith("\n") else f"{text}\n"


def _results(shipped: Shipped, task: Task, scores: Sequence[Score]) -> Iterator[Any]:
    from huggingface_hub import EvalResult

    data = task.data
    if data is None or data.hub is None or shipped.tag is None:
        return
    for score in scores:
        split = getattr(data, score.split)
        if score.metric in METRICS and split is not None and len(split) == 1:
            yield EvalResult(
                task_type=shipped.tag,
                dataset_type=data.hub,
                dataset_name=data.hub,
                dataset_config=data.subset,
                dataset_split=split[0],
                metric_type=METRICS[score.metric],
                metric_name=score.metric,
                metric_value=score.value,
            )
