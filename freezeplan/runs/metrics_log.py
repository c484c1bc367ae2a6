"""The run's ``metrics.jsonl``: losses and every group's rate per report, scores per epoch and at the end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from freezeplan.runs.events import Scores


@dataclass
class MetricsLog:
    """Collect records in the order they happen; no record holds a time, so equal runs give equal logs."""

    records: list[dict[str, Any]] = field(default_factory=list)

    def add_steps(
        self, epoch: int, step: int, losses: Mapping[str, float], rates: Mapping[str, float]
    ) -> None:
        """Add the mean losses since the last report and the rates that step ``step`` used."""
        self._add("step", epoch=epoch, step=step, losses=dict(losses), rates=dict(rates))

    def add_epoch(
        self, epoch: int, step: int, losses: Mapping[str, float], scores: Scores, rates: Mapping[str, float]
    ) -> None:
        """Add an epoch's mean training losses and its scores on validation data."""
        scores = {task: dict(values) for task, values in scores.items()}
        self._add("epoch", epoch=epoch, step=step, losses=dict(losses), validation=scores, rates=dict(rates))

    def add_scores(self, split: str, epoch: int, scores: Scores) -> None:
        """Add the scores of a split that is evaluated once, at the end."""
        self._add(
            "evaluation", epoch=epoch, split=split, scores={task: dict(v) for task, v in scores.items()}
        )

    def add_phase(self, phase: str, epoch: int, step: int, what: Mapping[str, Any]) -> None:
        """Add that a phase is over: why, the rates that its groups really had, which epoch was brought back."""
        self._add("phase", phase=phase, epoch=epoch, step=step, **what)

    def as_lines(self) -> str:
        """Return the records as JSON lines."""
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in self.records)

    def _add(self, kind: str, **values: Any) -> None:
        self.records.append({"kind": kind, **values})


def log_of(lines: str) -> MetricsLog:
    """Return the log that :meth:`MetricsLog.as_lines` wrote."""
    return MetricsLog([json.loads(line) for line in lines.splitlines()])
