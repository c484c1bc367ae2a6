"""What one phase proved: its frozen tensors stayed, its trainable ones moved, at which rates, and the drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from freezeplan.diagnostics.wording import counted, format_rate
from freezeplan.runs.evidence import Evidence, tensor_records
from freezeplan.runs.gradients import GradientWatch


@dataclass(frozen=True)
class Drift:
    """How the metrics of a frozen head changed since it was frozen, with the backbone under it training.

    ``since`` is the phase in which it was frozen; ``before`` and ``after`` are its scores on validation data
    when that phase began and when this one ended.
    """

    task: str
    since: str
    before: Mapping[str, float]
    after: Mapping[str, float]

    @property
    def changes(self) -> dict[str, float]:
        """The difference of each metric."""
        return {name: self.after[name] - value for name, value in self.before.items()}

    def as_record(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "task": self.task,
            "since": self.since,
            "before": dict(self.before),
            "after": dict(self.after),
            "changes": self.changes,
        }


@dataclass(frozen=True)
class PhaseEvidence:
    """Compare a model before and after one phase.

    ``steps`` counts the phase's own steps; ``ended`` says why it is over, None while it runs;
    ``execution`` how its frozen part ran.
    """

    name: str
    index: int
    steps: int
    ended: str | None
    compared: Evidence
    watch: GradientWatch
    drift: tuple[Drift, ...] = ()
    execution: str = ""

    @property
    def statement(self) -> str:
        """Say in one sentence what the phase proved."""
        return self.compared.statement

    @property
    def line(self) -> str:
        """Say on one line what the phase did: its length, what stayed and moved, every group's rates."""
        parts = [
            f"{counted(self.steps, 'step')}, {self.ended}" if self.ended else counted(self.steps, "step")
        ]
        parts.append(self.statement)
        silent = self.watch.without_gradient if self.steps else ()
        if silent:
            parts.append(f"no gradient reached {counted(len(silent), 'trainable tensor')}: `{silent[0]}`")
        rates = [f"{group} lr {_range(*span)}" for group, span in self.rates.items()]
        return "; ".join([*parts, *([", ".join(rates)] if rates else [])])

    @property
    def rates(self) -> dict[str, tuple[float, float]]:
        """The lowest and the highest rate that each group really had."""
        return {name: (self.watch.lowest[name], high) for name, high in self.watch.rates.items()}

    def as_record(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "phase": self.name,
            "index": self.index,
            "steps": self.steps,
            "ended": self.ended,
            "execution": self.execution,
            "statement": self.statement,
            "violations": list(self.compared.violations),
            "unmoved": self.compared.causes,
            "no_gradient": list(self.watch.without_gradient) if self.steps else [],
            "rates": {name: list(span) for name, span in self.rates.items()},
            "drift": [item.as_record() for item in self.drift],
            "tensors": tensor_records(self.compared.tensors),
        }


def _range(low: float, high: float) -> str:
    written = [format_rate(float(f"{rate:.3g}")) for rate in (low, high)]
    return written[0] if written[0] == written[1] else " to ".join(written)
