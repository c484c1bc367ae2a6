"""A plan's phases in a trainer of somebody else's: what is due before each of its steps, and when it is over."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from freezeplan.apply.ending import weighted_mean
from freezeplan.apply.matching import named_tensors
from freezeplan.apply.phases import enter_phase, set_rates
from freezeplan.apply.timetable import NextStep, Timetable
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.plan.records import Plan
from freezeplan.spec.validators import SCORE

if TYPE_CHECKING:
    import torch

LOG = logging.getLogger("freezeplan")


class PhaseDriver:
    """Drive a model and an optimizer through a plan's phases, for a host that only counts its steps.

    Steps are the host's optimizer steps, counted from 0 over the whole run. The driver remembers nothing but what
    was measured: where a run stands follows from that and the number of steps, so a resumed host goes on in the right
    phase. ``rates`` holds each group's rate in the step that was set out last. Raises ``DiagnosticError`` (FP443) for a
    plan with ``freeze_when``: gradients, or what layers put out, decide there.
    """

    def __init__(self, model: torch.nn.Module, plan: Plan, optimizer: torch.optim.Optimizer) -> None:
        if plan.freeze_when is not None:
            message = "layers freeze as they settle (`[freeze_when]`), which only the bundled trainer can see"
            advice = "write the phases out as `[[phase]]`, or use `freezeplan train`"
            raise DiagnosticError([diagnostic("FP443", message, help=advice)])
        self.model = model
        self.plan = plan
        self.optimizer = optimizer
        self.values: dict[str, dict[int, float]] = {metric: {} for metric in deciding(plan)}
        self.rates: dict[str, float] = {}
        self._timetable: Timetable | None = None
        self._entered: int | None = None
        self._frozen: list[torch.Tensor] = []

    def begin(self, steps_per_epoch: int | None, host_steps: int | None = None) -> Timetable:
        """Lay the phases out over a host's steps; call it when a training begins, also when it resumes.

        ``steps_per_epoch`` is None where the data have no length, ``host_steps`` the steps that the host takes.
        """
        self._entered = None
        self._timetable = Timetable(self.plan, steps_per_epoch, host_steps)
        return self._timetable

    @property
    def timetable(self) -> Timetable:
        """How the phases lie over the steps; there is one after :meth:`begin`."""
        assert self._timetable is not None, "begin() comes first"
        return self._timetable

    @property
    def begun(self) -> bool:
        """Whether the phases are laid out."""
        return self._timetable is not None

    def before_step(self, step: int) -> bool:
        """Enter the phase of the step after ``step`` others, if it is a new one, and set the step's rates.

        Returns whether a phase was entered, after which the gradients of the step before are gone. The run must not
        be over.
        """
        place = self.place(step)
        assert place is not None, "the plan is over"
        factor = self.timetable.factor(place)
        entered = place.phase != self._entered
        if entered:
            for phase in self.timetable.to_enter(place):
                enter_phase(self.model, self.optimizer, self.plan, phase, factor=factor)
            tensors = named_tensors(self.model, self.plan)
            self._frozen = [tensors[name] for name in self.plan.names(place.phase, trainable=False)]
            LOG.info("step %d: phase `%s`", step + 1, self.plan.phases[place.phase].name)
        else:
            set_rates(self.optimizer, self.plan, place.phase, factor)
            self.hold_frozen()
        self._entered = place.phase
        self.note_rates()
        return entered

    def hold_frozen(self) -> None:
        """Freeze again what has thawed within the phase, as all of an adapter does behind PEFT's ``disable_adapter()``.

        Its rate is 0.0, but its gradients would cost memory and count where gradients are clipped by their norm.
        """
        for tensor in self._frozen:
            if tensor.requires_grad:
                tensor.requires_grad_(False)
                tensor.grad = None

    def note_rates(self) -> None:
        """Note the rates that the optimizer's groups really have."""
        self.rates = {group["name"]: float(group["lr"]) for group in self.optimizer.param_groups}

    def measured(self, step: int, values: Mapping[str, float]) -> None:
        """Note metrics (``task/name``) measured after ``step`` steps; of several values at a step the first counts.

        The score over several is worked out once all of them are measured.
        """
        for metric, value in values.items():
            self.values[metric].setdefault(step, float(value))
        parts = [self.values[metric] for metric, _ in self.plan.score if SCORE in self.values]
        if parts and all(step in part for part in parts):
            score = weighted_mean(self.plan.score, lambda metric: self.values[metric][step])
            self.values[SCORE].setdefault(step, score)

    def wanted(self, step: int) -> tuple[str, ...]:
        """Return the metrics that decide how the run goes on after its first ``step`` steps."""
        return self.timetable.to_measure(step, self.values)

    def lacking(self, step: int) -> tuple[str, ...]:
        """Return those of them that were not measured."""
        return (
            tuple(metric for metric in self.wanted(step) if step not in self.values[metric]) if step else ()
        )

    def place(self, step: int) -> NextStep | None:
        """Return where the step after ``step`` others lies, None when the run is over before it."""
        return self.timetable.place(step, self.values)

    def over(self, step: int) -> bool:
        """Whether the run is over after ``step`` steps."""
        return self.place(step) is None

    def last_phase(self, step: int) -> int | None:
        """Return the phase of the last step of a run that is over after ``step`` steps, None where it goes on."""
        if not self.over(step):
            return None
        last = self.place(step - 1)
        return last.phase if last else len(self.plan.phases) - 1


def deciding(plan: Plan) -> tuple[str, ...]:
    """Name the metrics that decide how a run over a plan goes on, each once; those of a score among them, too."""
    wanted = [phase.length.metric for phase in plan.phases]
    wanted.append(plan.stop_when.metric if plan.stop_when else None)
    parts = [metric for metric, _ in plan.score] if SCORE in wanted else []
    return tuple(dict.fromkeys(metric for metric in [*wanted, *parts] if metric))


def reported(plan: Plan) -> frozenset[str]:
    """Name those of them that a host reports, by its own names: the ones whose phase says a ``mode``."""
    lengths = [phase.length for phase in plan.phases]
    return frozenset(length.metric for length in lengths if length.metric and length.mode)


def check_saved_groups(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Refuse a saved state whose groups are others: torch would put it in place by position (FP445).

    Made to be an optimizer's hook before its state is loaded.
    """
    ours = [(group["name"], list(group["param_names"])) for group in optimizer.param_groups]
    theirs = [(group.get("name"), list(group.get("param_names", ()))) for group in saved["param_groups"]]
    if ours != theirs:
        message = "the checkpoint's optimizer has other groups than the plan"
        advice = "go on with the plan that the checkpoint was made by, or start again from its weights"
        notes = [f"only {which}: `{name}`" for which, name in _difference(ours, theirs)]
        raise DiagnosticError([diagnostic("FP445", message, help=advice, notes=notes)])


def _difference(ours: list[Any], theirs: list[Any]) -> Iterable[tuple[str, str]]:
    yield from (("in the plan", name) for name, members in ours if (name, members) not in theirs)
    yield from (("in the checkpoint", name) for name, members in theirs if (name, members) not in ours)
