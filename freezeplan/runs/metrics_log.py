"""The run's ``metrics.jsonl``: losses and every group's rate per report, scores per epoch and at the end."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from freezeplan.outside.regular import open_regular
from freezeplan.runs.events import Scores

FILE = "metrics.jsonl"


@dataclass
class MetricsLog:
    """Append records to a file in the order they happen; no record holds a time, so equal runs give equal logs.

    ``records`` holds those that are not in the file yet. Of the file only what ``standing`` tells counts: what
    comes behind it was written by a process that was killed, and the next append takes its place.
    """

    records: list[dict[str, Any]] = field(default_factory=list)
    length: int = 0
    _digest: Any = field(default_factory=hashlib.sha256, repr=False)

    def add_steps(
        self,
        epoch: int,
        step: int,
        losses: Mapping[str, float],
        rates: Mapping[str, float],
        skipped: int = 0,
    ) -> None:
        """Add the mean losses since the last report, the rates of step ``step``, and how many steps were left out."""
        more = {"skipped": skipped} if skipped else {}
        self._add("step", epoch=epoch, step=step, losses=dict(losses), rates=dict(rates), **more)

    def add_epoch(
        self,
        epoch: int,
        step: int,
        losses: Mapping[str, float],
        scores: Scores,
        rates: Mapping[str, float],
        score: float | None = None,
    ) -> None:
        """Add an epoch's mean training losses and its scores on validation data, and the one over them if any."""
        validation = {task: dict(values) for task, values in scores.items()}
        more = {} if score is None else {"score": score}
        values = {"losses": dict(losses), "validation": validation, **more, "rates": dict(rates)}
        self._add("epoch", epoch=epoch, step=step, **values)

    def add_scores(self, split: str, epoch: int, scores: Scores, score: float | None = None) -> None:
        """Add the scores of a split that is evaluated once, at the end, and the one over them if any."""
        more = {} if score is None else {"score": score}
        found = {task: dict(values) for task, values in scores.items()}
        self._add("evaluation", epoch=epoch, split=split, scores=found, **more)

    def add_phase(self, phase: str, epoch: int, step: int, what: Mapping[str, Any]) -> None:
        """Add that a phase is over: why, the rates that its groups really had, which epoch was brought back."""
        self._add("phase", phase=phase, epoch=epoch, step=step, **what)

    def add_restored(self, epoch: int, step: int, metric: str | None) -> None:
        """Add that the weights of an epoch, the best by a metric, are back at the end of the run."""
        self._add("restored", epoch=epoch, step=step, metric=metric)

    def as_lines(self) -> str:
        """Return the records that are not in the file yet as JSON lines."""
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in self.records)

    @property
    def standing(self) -> dict[str, Any]:
        """How many bytes of the file count, and their sha256 (hex)."""
        return {"bytes": self.length, "sha256": self._digest.hexdigest()}

    def append(self, path: Path) -> None:
        """Put the records behind those in the file, on the disk; raises ``OSError``, and may be called again."""
        data = self.as_lines().encode("utf-8", "surrogatepass")
        if not data and self.length:
            return
        with path.open("r+b" if self.length else "wb") as file:
            file.truncate(self.length)
            file.seek(self.length)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self.length += len(data)
        self._digest.update(data)
        self.records.clear()

    def cut(self, path: Path) -> None:
        """Take away what is behind the part that counts; raises ``OSError``."""
        if path.stat().st_size > self.length:
            os.truncate(path, self.length)

    def go_on(self, path: Path, standing: Mapping[str, Any]) -> None:
        """Take up a file where ``standing`` says; raises ``ValueError`` when it does not hold that, ``OSError``."""
        with open_regular(path) as file:
            head = file.read(standing["bytes"])
        self.records.clear()
        self.length, self._digest = len(head), hashlib.sha256(head)
        if self.standing != dict(standing):
            raise ValueError(f"`{path.name}` is not what was written (its sha256 differs)")

    def _add(self, kind: str, **values: Any) -> None:
        self.records.append({"kind": kind, **values})
