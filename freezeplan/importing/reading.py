"""What every peer's config is read into: statements, and what they do to each tensor in each phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from freezeplan.diagnostics import Diagnostic, DiagnosticError, Span

UNSAID = -1


@dataclass(frozen=True)
class Treatment:
    """What one phase does with one tensor; numbers that are None are the optimizer's own."""

    trained: bool
    lr: float | None = None
    lr_mult: float | None = None
    weight_decay_mult: float | None = None
    weight_decay: float | None = None


FROZEN, TRAINED = Treatment(False), Treatment(True)


@dataclass(frozen=True)
class Statement:
    """One thing that a config says; ``selectors`` are words of ours that may say the same."""

    said: str
    span: Span | None = None
    selectors: tuple[str, ...] = ()


# Per first name of a tensor: what is done with it, and the statement that says so (or UNSAID).
Outcome = Mapping[str, tuple[Treatment, int]]


@dataclass(frozen=True)
class PhaseReading:
    """One phase of a peer's run: what it does, and how many epochs it lasts as far as the config tells."""

    outcome: Outcome
    name: str = ""
    epochs: int | None = None


@dataclass(frozen=True)
class Reading:
    """All that a config says of one model.

    ``lr`` and ``weight_decay`` are the base values, None where the config has none. ``no_decay`` is the mask that the
    peer applies: the name of a published rule, or none. ``layer_decay`` is a formula with its rate and least factor.
    ``without_rate`` is the error of a config that leaves the rate to something that is not in it. ``findings`` are
    accidents (FP195) and what is left out (FP196).
    """

    statements: tuple[Statement, ...]
    phases: tuple[PhaseReading, ...]
    lr: float | None = None
    weight_decay: float | None = None
    no_decay: str | None = None
    optimizer: str | None = None
    layer_decay: tuple[str, float, float] | None = None
    without_rate: DiagnosticError | None = field(default=None, compare=False)
    findings: tuple[Diagnostic, ...] = field(default=())

    @property
    def base_decay(self) -> float:
        """The base weight decay; a config that has none decays nothing."""
        return self.weight_decay or 0.0
