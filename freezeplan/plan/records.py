"""The plan: phases x parameters, as immutable plain records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from freezeplan.diagnostics import Diagnostic

FORMAT_VERSION = "1.3"

Options = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class PlannedParam:
    """Identify one tensor of the plan; ``aliases`` are its other names."""

    name: str
    aliases: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    numel: int
    layer: int | None


@dataclass(frozen=True)
class Assignment:
    """Say what one phase does with one tensor.

    ``lr`` and ``weight_decay`` are the numbers the optimizer gets (before the schedule's factor); for a
    frozen tensor ``lr`` is 0.0. ``decided`` pairs each property (``state``, ``lr``, ``weight_decay``,
    ``eval_mode``, option names) with the name of the rule that decided it; a property no rule set is
    absent. ``masked`` tells that ``no_decay`` set the weight decay. ``rule`` names the group's rule.
    ``decay`` is the layer-decay factor that ``lr`` already contains, ``rung`` what it was counted from.
    ``eval_mode`` is False where a frozen tensor's module is to stay in training mode. ``optimizer`` is the label
    of the one that has the tensor.
    """

    state: str
    lr: float
    weight_decay: float
    options: Options
    decided: tuple[tuple[str, str], ...]
    masked: bool
    rule: str
    eval_mode: bool = True
    decay: float = 1.0
    rung: str = ""
    optimizer: str = ""

    @property
    def trainable(self) -> bool:
        """Whether the tensor trains in this phase."""
        return self.state == "trainable"


@dataclass(frozen=True)
class Group:
    """One optimizer parameter group: tensors that share every number in every phase.

    ``lr``, ``weight_decay`` and ``options`` hold one entry per phase (``lr`` is None while frozen).
    ``name`` is unique. ``members`` are canonical parameter names in registration order. ``written`` names the
    options that the spec sets, in the optimizer's table or in a rule; all others are the optimizer's own defaults.
    ``optimizer`` is the label of the one that has the group.
    """

    name: str
    rule: str
    selected_by: str
    members: tuple[str, ...]
    numel: int
    lr: tuple[float | None, ...]
    weight_decay: tuple[float, ...]
    options: tuple[Options, ...]
    written: tuple[str, ...] = ()
    optimizer: str = ""

    def written_options(self, phase: int) -> dict[str, Any]:
        """Return the options that an optimizer's group holds in a phase: those that the spec sets."""
        options = self.options[phase]
        return {key: value for key, value in options if key in self.written and value is not None}


@dataclass(frozen=True)
class PlannedOptimizer:
    """One optimizer of a plan, and the values its groups start from.

    ``label`` is the NAME of its table ``[optimizer.NAME]``, empty for ``[optimizer]`` itself. ``name`` is a class
    of torch.optim, or ``MODULE:CLASS`` for one from elsewhere. ``options`` are those a group may have, with the
    optimizer's defaults where the spec says nothing (None where they are not known); ``arguments`` are given to
    its constructor. ``decays`` tells that groups hold a weight decay.
    """

    label: str
    name: str
    lr: float
    weight_decay: float
    options: Options = ()
    arguments: Options = ()
    decays: bool = True

    @property
    def is_foreign(self) -> bool:
        """Whether it comes from elsewhere than torch.optim."""
        return ":" in self.name

    @property
    def kind(self) -> str:
        """The name of its class alone."""
        return self.name.rpartition(":")[2]

    @property
    def path(self) -> tuple[str, ...]:
        """The key path of its table in the spec."""
        return ("optimizer", self.label) if self.label else ("optimizer",)

    @property
    def table(self) -> str:
        """The name of its table in the spec."""
        return ".".join(self.path)


@dataclass(frozen=True)
class FrozenSet:
    """Tensors that no phase trains, by the rule that froze them: a row of the table, not a group."""

    rule: str
    selected_by: str
    members: tuple[str, ...]
    numel: int


@dataclass(frozen=True)
class Length:
    """How long a phase lasts: ``count`` epochs or optimizer steps, or ``until`` a metric says so.

    With ``unit = "moving"`` it lasts as long as its lowest layers move, by the plan's ``freeze_when``: ``count`` epochs
    at most, those of the phases before it included. With ``unit = "until"`` the phase ends after an epoch in which
    ``metric`` (``task/name``) reached ``target``, or when it has not improved for ``patience`` epochs, at the latest
    after ``count`` epochs; ``restore_best`` then brings back the epoch in which the metric was best. So does a whole
    run in epochs. A metric with a ``mode`` (``max``, ``min``) is one that another trainer reports, by its name there.
    ``by_default``: the spec writes no length, so a host that has one of its own decides.
    """

    unit: str
    count: int
    metric: str | None = None
    target: float | None = None
    patience: int | None = None
    restore_best: bool = False
    by_default: bool = field(default=False, compare=False)
    mode: str | None = None

    @property
    def by_measure(self) -> bool:
        """Whether what is measured decides when the phase ends, ``count`` at the latest."""
        return self.unit in ("until", "moving")


@dataclass(frozen=True)
class PhaseSchedule:
    """The factor on every rate in a phase: a schedule by name, over the *stretch* the phase belongs to.

    A stretch is one phase with a schedule of its own (or with ``until``), or a row of phases that share one;
    ``stretch`` is the index of its first phase.
    """

    name: str
    warmup: int | float
    options: Options
    stretch: int


WHOLE_RUN = "whole run"
ONE_EPOCH = Length("epochs", 1)
CONSTANT = PhaseSchedule("constant", 0, (), 0)


@dataclass(frozen=True)
class FrozenPrefix:
    """The leading part of a model that is frozen with all that feeds it: what can run once per input.

    It holds the first ``layers`` of the ``of`` layers of ``stack`` (None where a model has no single stack of
    layers), or, with ``whole_backbone``, the whole backbone: then one pooled vector per row, or the states of
    its words, are all that the heads need. The compiler reads it off names and order; the trainer proves it on the
    live model.
    """

    stack: str | None
    layers: int
    of: int
    whole_backbone: bool = False

    @property
    def exists(self) -> bool:
        """Whether anything is left out when it does not run."""
        return self.whole_backbone or self.layers > 0

    @property
    def depth(self) -> int:
        """The layers that do not run where it is stored; at least one where anything does not."""
        return max(self.of, 1) if self.whole_backbone else self.layers

    @property
    def boundary(self) -> str:
        """The name of what it puts out: equal names hold equal numbers as long as the weights are equal.

        >>> FrozenPrefix("layers", 3, 6).boundary, FrozenPrefix("layers", 6, 6, whole_backbone=True).boundary
        ('k=3', 'pooled')
        """
        return "pooled" if self.whole_backbone else f"k={self.layers}"

    @property
    def statement(self) -> str:
        """The words for a run that stores it.

        >>> FrozenPrefix("layers", 3, 6).statement
        'stored prefix k=3 of 6'
        """
        if self.whole_backbone:
            return "stored features of the whole backbone"
        return f"stored prefix k={self.layers} of {self.of}"

    def contains(self, other: FrozenPrefix) -> bool:
        """Whether all that is frozen in another prefix is frozen in this one, too."""
        if self.whole_backbone or other.whole_backbone:
            return self.whole_backbone
        return self.layers >= other.layers


@dataclass(frozen=True)
class Phase:
    """One phase: what each tensor does (in the order of ``Plan.params``), and what follows from it.

    ``eval_modules`` are the paths of the modules that run in eval mode. ``thawed`` and
    ``refrozen`` name the tensors whose state differs from the phase before (none in the first). The
    optimizer state of ``drops_state`` is given up on entering: tensors frozen now that no later phase thaws,
    or only one with ``on_thaw = "reset"``. ``optimizer_state_bytes`` counts what is kept and what trains.
    """

    name: str
    assignments: tuple[Assignment, ...]
    eval_modules: tuple[str, ...]
    kept_in_train_mode: tuple[str, ...]
    frozen_prefix: FrozenPrefix
    trainable_numel: int
    optimizer_state_bytes: int
    length: Length = ONE_EPOCH
    schedule: PhaseSchedule = CONSTANT
    on_thaw: str = "reset"
    thawed: tuple[str, ...] = ()
    refrozen: tuple[str, ...] = ()
    drops_state: tuple[str, ...] = ()


Weights = tuple[tuple[str, float], ...]
"""Metrics (``task/name``), each with its weight."""


@dataclass(frozen=True)
class Target:
    """Where a run may end early: ``metric`` (``task/name``, or ``score``) has reached ``at_least``."""

    metric: str
    at_least: float


@dataclass(frozen=True)
class FreezeRule:
    """When the trainer goes on to the next phase, which freezes more layers: ``rule`` names whose rule it is.

    An epoch has ``intervals``. After it, from the bottom up, layers freeze: by ``autofreeze`` those whose gradients'
    norm changed between two neighbours of these by less than the ``percentile`` of the changes of all layers that
    train; by ``egeria`` those whose outputs changed in each of them by at most a share, ``tolerance``, of the most that
    they have changed in one. What the rule does not read is None.
    """

    rule: str
    intervals: int
    percentile: float | None = None
    tolerance: float | None = None


VIEWS: dict[str, Callable[[Plan], str]] = {}
"""What shows a plan, as ``text`` and as ``html``: the rooms above fill it in, the compiler draws nothing."""


@dataclass(frozen=True)
class Plan:
    """The compiled plan. Two plans are equal when they do the same, whatever the model is called.

    ``params`` are the model's tensors in registration order; each of ``phases`` holds what it does with every
    one of them. ``groups`` is the static partition of all tensors that any phase trains; it exists from step 0
    and never changes. ``optimizers`` are that of ``[optimizer]``, then those of ``[optimizer.NAME]`` in the order of
    the spec; each group says which has it. ``diagnostics`` holds warnings and notes (a plan with errors is never made).
    ``freeze_when`` says when the next phase begins, where the phases are those of ``[freeze_when]``: all of them
    together last as many epochs as one has at most. ``score`` holds the metrics, with their weights, that the metric
    ``score`` is the mean of. ``frozen_dtype`` is the number format in which the tensors ``at_rest`` are kept, None
    where all stay as they are loaded.
    :func:`freezeplan.compile_plan` makes one. It prints as the table of ``freezeplan show``, and a notebook shows it
    as one.
    """

    model: str = field(compare=False)
    origin: str = field(compare=False)
    base: str
    optimizers: tuple[PlannedOptimizer, ...]
    params: tuple[PlannedParam, ...]
    phases: tuple[Phase, ...]
    groups: tuple[Group, ...]
    frozen: tuple[FrozenSet, ...]
    diagnostics: tuple[Diagnostic, ...] = field(default=(), compare=False)
    stop_when: Target | None = None
    score: Weights = ()
    frozen_dtype: str | None = None
    freeze_when: FreezeRule | None = None
    format_version: str = FORMAT_VERSION

    def __str__(self) -> str:
        """Return the plan as a table of text."""
        return VIEWS["text"](self) if "text" in VIEWS else repr(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print the table at IPython's prompt."""
        printer.text(str(self))

    def _repr_html_(self) -> str | None:
        """Return the plan as a table for a notebook."""
        return VIEWS["html"](self) if "html" in VIEWS else None

    @property
    def working(self) -> tuple[PlannedOptimizer, ...]:
        """The optimizers that have a group, in the plan's order."""
        labels = {group.optimizer for group in self.groups}
        return tuple(item for item in self.optimizers if item.label in labels)

    def optimizer_of(self, group: Group) -> PlannedOptimizer:
        """Return the optimizer that has a group."""
        return next(item for item in self.optimizers if item.label == group.optimizer)

    @property
    def numel(self) -> int:
        """Elements of all tensors, each tied tensor counted once."""
        return sum(param.numel for param in self.params)

    def names(self, phase: int = 0, *, trainable: bool) -> tuple[str, ...]:
        """Return the canonical names that are trainable (or frozen) in a phase, in registration order."""
        pairs = zip(self.params, self.phases[phase].assignments, strict=True)
        return tuple(param.name for param, what in pairs if what.trainable is trainable)

    @property
    def ever_trained(self) -> tuple[str, ...]:
        """The canonical names that some phase trains, in registration order."""
        grouped = {name for group in self.groups for name in group.members}
        return tuple(param.name for param in self.params if param.name in grouped)

    @property
    def at_rest(self) -> tuple[str, ...]:
        """The canonical names that no phase trains, where they are kept in a number format of their own."""
        trained = set(self.ever_trained)
        return tuple(p.name for p in self.params if self.frozen_dtype is not None and p.name not in trained)

    def phase_index(self, phase: int | str) -> int:
        """Return the position of a phase that is given by position or name.

        Raises ``KeyError`` that lists the phases when there is none like it.
        """
        names = [item.name for item in self.phases]
        if isinstance(phase, str) and phase in names:
            return names.index(phase)
        if isinstance(phase, int) and -len(names) <= phase < len(names):
            return phase % len(names)
        raise KeyError(f"there is no phase {phase!r}; phases: {', '.join(names)}")
