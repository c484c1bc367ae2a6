"""What a training run tells its observer: plain records, no text and no tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Scores = Mapping[str, Mapping[str, float]]
"""Metrics by task, such as ``{"topic": {"accuracy": 0.9, "macro_f1": 0.89, "loss": 0.3}}``."""


@dataclass(frozen=True)
class RunStarted:
    """The data, the model and the plan are ready.

    ``rows`` maps each task to its number of rows per split; ``groups`` names the optimizer's groups in order;
    ``steps`` counts the optimizer steps of the whole run (0 for an evaluation); ``max_length`` is in tokens,
    None for images.
    ``only_evaluated`` names the tasks that cannot learn, their head and the backbone being frozen.
    """

    rows: Mapping[str, Mapping[str, int]]
    groups: tuple[str, ...]
    epochs: int
    steps: int
    device: str
    max_length: int | None
    evaluation_only: bool
    only_evaluated: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepDone:
    """Some optimizer steps are done.

    ``step`` counts from 1 over the whole run. ``losses`` maps the tasks that these steps trained to their
    mean loss, ``rates`` each group's name to the learning rate that step ``step`` used.
    """

    epoch: int
    step: int
    steps: int
    losses: Mapping[str, float]
    rates: Mapping[str, float]


@dataclass(frozen=True)
class EpochDone:
    """An epoch is trained, evaluated and saved in ``folder``.

    ``losses`` holds each task's mean training loss, ``scores`` its metrics on validation data (tasks with
    some).
    """

    epoch: int
    epochs: int
    step: int
    losses: Mapping[str, float]
    scores: Scores
    rates: Mapping[str, float]
    folder: Path


@dataclass(frozen=True)
class Evaluated:
    """The final weights were evaluated on a split: ``validation`` (evaluation-only runs) or ``test``."""

    split: str
    scores: Scores


@dataclass(frozen=True)
class EvidenceReady:
    """The hashes before and after training are compared; ``statement`` says what they prove."""

    statement: str
    holds: bool


@dataclass(frozen=True)
class Interrupted:
    """The run was stopped; ``epoch`` epochs (possibly 0) are complete.

    They are in ``folder``, None when nothing was written.
    """

    epoch: int
    folder: Path | None


@dataclass(frozen=True)
class Finished:
    """The run is complete and in ``folder``."""

    folder: Path
    scores: Scores


Event = RunStarted | StepDone | EpochDone | Evaluated | EvidenceReady | Interrupted | Finished
Observer = Callable[[Event], None]


def ignore_events(event: Event) -> None:
    """Observe nothing: the default of runs that nobody watches."""
