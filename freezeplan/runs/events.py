"""What a training run tells its observer: plain records, no text and no tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from freezeplan.apply.ending import Scores


@dataclass(frozen=True)
class Working:
    """Something that takes time goes on: ``what``, in words; ``done`` of ``of``, where it can be counted."""

    what: str
    done: int = 0
    of: int = 0


@dataclass(frozen=True)
class RunStarted:
    """The data, the model and the plan are ready.

    ``rows`` maps each task to its number of rows per split; ``groups`` names the optimizer's groups in order;
    ``steps`` counts the optimizer steps of the whole run (0 for an evaluation); ``max_length`` is in tokens,
    None for images.
    ``only_evaluated`` names the tasks that cannot learn, their head and the backbone being frozen. ``precision`` is
    what the forward pass computes in, ``frozen_dtype`` the format of the weights that never train where it is another;
    ``recomputes`` tells that layers run again in the backward pass.
    """

    rows: Mapping[str, Mapping[str, int]]
    groups: tuple[str, ...]
    epochs: int
    steps: int
    device: str
    max_length: int | None
    evaluation_only: bool
    only_evaluated: tuple[str, ...] = ()
    precision: str = "float32"
    frozen_dtype: str | None = None
    recomputes: bool = False


@dataclass(frozen=True)
class Resumed:
    """The run goes on from a checkpoint: after ``step`` steps, in phase ``phase`` (empty without phases).

    ``skipped`` maps newer checkpoints that cannot be used to what is wrong with them.
    """

    checkpoint: str
    phase: str
    epoch: int
    step: int
    skipped: Mapping[str, str]


@dataclass(frozen=True)
class PhaseStarted:
    """A phase of a plan with phases begins; ``number`` counts from 1.

    ``epochs`` and ``steps`` are its length, at most where it ``can_end_early``. ``thawed`` and ``refrozen`` count the
    tensors whose state changes. ``tasks`` learn in it; without any, nothing is trained and the model is evaluated once.
    """

    name: str
    number: int
    phases: int
    epochs: int
    steps: int
    thawed: int
    refrozen: int
    tasks: tuple[str, ...]
    groups: tuple[str, ...]
    can_end_early: bool


@dataclass(frozen=True)
class StoreProgress:
    """Of the inputs whose frozen prefix is stored, ``done`` are computed."""

    done: int
    inputs: int


@dataclass(frozen=True)
class ExecutionChosen:
    """How the frozen part of a phase runs: ``statement`` says it, and where there is no store why.

    ``rebuilt`` maps files of the store that were there but of no use to what was wrong with them.
    """

    phase: str
    statement: str
    rebuilt: Mapping[str, str]


@dataclass(frozen=True)
class UpdatesLost:
    """Of so many ``elements`` that had a gradient in the first ``steps``, ``lost`` did not change, kept in bfloat16."""

    lost: int
    elements: int
    steps: int


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
    some), ``phase`` the phase's name in a plan with phases, ``score`` the one over them where the spec says one.
    """

    epoch: int
    epochs: int
    step: int
    losses: Mapping[str, float]
    scores: Scores
    rates: Mapping[str, float]
    folder: Path
    phase: str = ""
    score: float | None = None


@dataclass(frozen=True)
class PhaseDone:
    """A phase of a plan with phases is over and saved.

    ``line`` says why, what stayed and moved and at which rates. ``scores`` are those of the weights that the
    next phase starts from: where ``restored`` is not None, those of that epoch of the run, brought back.
    """

    name: str
    number: int
    phases: int
    line: str
    scores: Scores
    restored: int | None = None


@dataclass(frozen=True)
class BestRestored:
    """The weights of ``epoch``, in which ``metric`` was best at ``value``, are those that the run ends with."""

    epoch: int
    metric: str
    value: float


@dataclass(frozen=True)
class HeadDrifted:
    """A head that was frozen in phase ``since`` scored ``before``; now that phase ``phase`` is over, ``after``."""

    task: str
    since: str
    phase: str
    before: Mapping[str, float]
    after: Mapping[str, float]


@dataclass(frozen=True)
class StoppedEarly:
    """``train.stop_when`` ended the run: ``reason`` says at which value of which metric."""

    reason: str


@dataclass(frozen=True)
class Evaluated:
    """The final weights were evaluated on a split: ``validation`` (evaluation-only runs) or ``test``.

    ``score`` is the one over the scores, where the spec says one and all its tasks have the split.
    """

    split: str
    scores: Scores
    score: float | None = None


@dataclass(frozen=True)
class Predicted:
    """Test rows without labels were predicted: ``rows`` of each task, in the folder ``place``."""

    rows: Mapping[str, int]
    place: Path


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


Event = (
    Working
    | RunStarted
    | Resumed
    | PhaseStarted
    | StoreProgress
    | ExecutionChosen
    | StepDone
    | UpdatesLost
    | EpochDone
    | PhaseDone
    | BestRestored
    | HeadDrifted
    | StoppedEarly
    | Evaluated
    | Predicted
    | EvidenceReady
    | Interrupted
    | Finished
)
Observer = Callable[[Event], None]


def ignore_events(event: Event) -> None:
    """Observe nothing: the default of runs that nobody watches."""


def in_turn(*observers: Observer) -> Observer:
    """Return an observer that tells several, one after the other."""

    def observe(event: Event) -> None:
        for observer in observers:
            observer(event)

    return observe
