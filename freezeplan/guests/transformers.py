"""A plan's phases inside a stock Trainer of transformers: an optimizer, a scheduler and one callback."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from freezeplan.apply.groups import build_optimizer
from freezeplan.apply.optimizer_state import innermost
from freezeplan.apply.phases import enter_phase, set_rates
from freezeplan.apply.timetable import Measured, NextStep, Timetable
from freezeplan.diagnostics import Diagnostic, DiagnosticError, Severity, diagnostic
from freezeplan.diagnostics.wording import quoted
from freezeplan.guests.beside import Beside
from freezeplan.guests.rest import RestAtTheEnd
from freezeplan.guests.strays import StrayGradients, check_hosted
from freezeplan.plan.records import Plan

LOG = logging.getLogger("freezeplan")


@dataclass(frozen=True)
class TrainerGuest:
    """Hold what a Trainer is given: ``Trainer(..., optimizers=guest.optimizers, callbacks=[guest.callback])``."""

    optimizer: torch.optim.Optimizer
    scheduler: GuestScheduler
    callback: GuestCallback

    @property
    def optimizers(self) -> tuple[torch.optim.Optimizer, GuestScheduler]:
        """The pair that ``Trainer`` takes as ``optimizers``."""
        return self.optimizer, self.scheduler

    def max_steps(self, steps_per_epoch: int | None = None) -> int:
        """Return the ``max_steps`` that the Trainer must have, for so many optimizer steps in an epoch.

        Of phases that a metric ends it counts the most they can have; the guest stops the Trainer earlier. A plan
        without phases whose spec writes no ``epochs`` has its default, and takes any other number too.
        """
        return Timetable(self.callback.plan, steps_per_epoch).steps


def trainer_guest(model: torch.nn.Module, plan: Plan, **options: Any) -> TrainerGuest:
    """Prepare a model for a stock ``transformers.Trainer`` that executes a plan's phases.

    Builds the plan's optimizer (``options`` go to its class) and enters the first phase. The callback enters
    each later phase between two optimizer steps, sets every group's rate for each step, adds ``lr/<group>`` to
    the Trainer's logs, asks for an evaluation where a metric decides how the run goes on (``until``,
    ``stop_when``), and stops the Trainer at the end of the plan. A metric ``task/name`` is read from
    ``eval_<task>_<name>`` or else ``eval_<name>``. Frozen modules stay in eval mode through the Trainer's own
    ``model.train()``. Training goes on from the Trainer's checkpoints.

    ``model`` is what the plan was compiled for: the Trainer's model, or a loss with weights of its own around it.
    Those weights train like all others, lose their gradients after each step, and are saved with the optimizer.

    Raises :class:`freezeplan.DiagnosticError` when the plan trains nothing (FP413), is for another model
    (FP414), asks for what a callback cannot do (FP443), or trains what the Trainer's checkpoints of a model under
    PEFT leave out (FP447). When training starts, the callback raises it for more
    than one process or device (FP442), for another number of steps than the plan's (FP441), for a checkpoint
    of another plan (FP445), when it finds another optimizer (FP446), and for weights that the Trainer's loss depends
    on and that are in no group (FP448).
    """
    unable = [phase.name for phase in plan.phases if phase.length.restore_best]
    if unable:
        raise DiagnosticError([_cannot_restore(unable)])
    if lost := [item for item in plan.diagnostics if item.code == "FP492"]:
        raise DiagnosticError([_never_saved(lost[0])])
    optimizer = build_optimizer(model, plan, **options)
    enter_phase(model, optimizer, plan, 0)
    optimizer.register_load_state_dict_pre_hook(_check_saved)
    callback = GuestCallback(model, plan, optimizer)
    return TrainerGuest(optimizer, GuestScheduler(optimizer, callback), callback)


class GuestScheduler(LRScheduler):
    """Report the rates that the callback has set; change none itself."""

    def __init__(self, optimizer: torch.optim.Optimizer, callback: GuestCallback) -> None:
        self._callback = callback
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        """Return the groups' rates as they are."""
        return [group["lr"] for group in self.optimizer.param_groups]

    get_last_lr = get_lr

    def step(self, epoch: int | None = None) -> None:
        """Count a step; raises when no callback drives the phases (FP446)."""
        if not self._is_initial and self._callback.timetable is None:
            raise DiagnosticError([_half("its callback is not among the Trainer's callbacks")])
        super().step(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the count of steps; the rates follow from the plan."""
        return {"last_epoch": self.last_epoch, "_step_count": self._step_count}


class GuestCallback(TrainerCallback):
    """Enter the plan's phases, and set its rates, as a Trainer goes along.

    It remembers nothing that matters: where the run stands follows from the Trainer's own state (the number of
    its steps and the metrics in its log), so a resumed Trainer goes on in the right phase.
    """

    def __init__(self, model: torch.nn.Module, plan: Plan, optimizer: torch.optim.Optimizer) -> None:
        self.model = model
        self.plan = plan
        self.optimizer = optimizer
        self.timetable: Timetable | None = None
        self.entered: int | None = None
        self.history = LoggedMetrics(_metrics(plan))
        self.rates: dict[str, float] = {}
        self._beside = Beside(model, optimizer)
        self._rest = RestAtTheEnd(model, optimizer, plan)
        self._strays: StrayGradients | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Check that this Trainer can execute the plan, and lay out its steps."""
        self.entered = None
        if innermost(more["optimizer"]) is not self.optimizer:
            raise DiagnosticError([_half("the Trainer has another optimizer")])
        if not isinstance(more["lr_scheduler"], GuestScheduler):
            raise DiagnosticError([_half("the Trainer has another scheduler")])
        self.history.clear()
        epoch = _steps_per_epoch(more["train_dataloader"], args)
        self.timetable = Timetable(self.plan, epoch, state.max_steps)
        problems = list(_processes(args)) or list(_lengths(self.timetable, state))
        if problems:
            raise DiagnosticError(problems)
        check_hosted(more["model"], self.model)
        self._beside.begin(more["model"], resumed=state.global_step > 0)
        self._rest.begin(self._last_phase(state), state)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Enter the phase of the next optimizer step if it is a new one, and set the step's rates."""
        if not self._rest.active:
            self._check_measured(state)
        place = self._place(state)
        if place is None:
            self._rest.still(self._last_phase(state), state)
            return
        self._enter(place, state)
        self._set_out(more["model"])

    def _enter(self, place: NextStep, state: TrainerState) -> None:
        assert self.timetable is not None
        factor = self.timetable.factor(place)
        if place.phase == self.entered:
            set_rates(self.optimizer, self.plan, place.phase, factor)
            return
        for phase in self.timetable.to_enter(place):
            enter_phase(self.model, self.optimizer, self.plan, phase, factor=factor)
        if self.entered is None:
            self._strays = StrayGradients(self.model)
        self.entered = place.phase
        LOG.info("step %d: phase `%s`", state.global_step + 1, self.plan.phases[place.phase].name)

    def _set_out(self, host: torch.nn.Module) -> None:
        """Do for what stands beside the Trainer's model what the Trainer does for that one alone."""
        self.optimizer.zero_grad(set_to_none=True)
        if host is not self.model:
            self.model.train()

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Note the rates that the step really has; after the first backward pass, look for weights in no group."""
        if self._rest.active:
            self._rest.drop_gradients()
            return
        if self._strays is not None:
            self._strays.check()
            self._strays = None
        self.rates = {group["name"]: float(group["lr"]) for group in self.optimizer.param_groups}

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> TrainerControl:
        """Ask for an evaluation where a metric decides how the run goes on, unless one comes anyway."""
        assert self.timetable is not None
        if self._rest.active:
            self._rest.end(control)
            return control
        if self.timetable.to_measure(state.global_step, self.history.read(state)):
            epoch = self.timetable.steps_per_epoch
            comes = args.eval_strategy == "epoch" and epoch is not None and state.global_step % epoch == 0
            control.should_evaluate = control.should_evaluate or not comes
        return self._stop_if_over(args, state, control)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> TrainerControl:
        """Stop the Trainer when what was measured ends its last phase, or the run."""
        return self._stop_if_over(args, state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> TrainerControl:
        """Let a Trainer that had nothing to do save nothing."""
        if self._rest.active:
            self._rest.quiet(control)
        return control

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Count the Trainer's steps as they were taken."""
        self._rest.take_back(state)

    def _stop_if_over(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl
    ) -> TrainerControl:
        if self.timetable is not None and self._place(state) is None:
            control.should_training_stop = True
            # As the Trainer does at its own last step.
            control.should_save = control.should_save or args.save_strategy == "steps"
        return control

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Add the rate of every group to what is logged about training steps: the Trainer's own is group 0's."""
        if logs is not None and "loss" in logs and self.rates:
            # A store of files cannot have `lr/head` and `lr/head/no_decay`: one would be a file and a folder.
            rates = {f"lr/{name.replace('/', '.')}": rate for name, rate in self.rates.items()}
            logs.update(rates)
            state.log_history[-1].update(rates)

    def _place(self, state: TrainerState) -> NextStep | None:
        assert self.timetable is not None
        return self.timetable.place(state.global_step, self.history.read(state))

    def _last_phase(self, state: TrainerState) -> int | None:
        """Return the phase in which a run that is over took its last step, None where it goes on."""
        if self._place(state) is not None:
            return None
        assert self.timetable is not None
        last = self.timetable.place(state.global_step - 1, self.history.read(state))
        return last.phase if last else len(self.plan.phases) - 1

    def _check_measured(self, state: TrainerState) -> None:
        """Raise FP444 when the evaluation after the last step lacks the metric that decides."""
        assert self.timetable is not None
        measured = self.history.read(state)
        for metric in self.timetable.to_measure(state.global_step, measured) if state.global_step else ():
            if state.global_step not in measured[metric]:
                raise DiagnosticError([_unmeasured(metric, state)])


class LoggedMetrics:
    """Read metrics from a Trainer's log, each entry once; of several values at one step, the first counts."""

    def __init__(self, metrics: Iterable[str]) -> None:
        self.measured: dict[str, dict[int, float]] = {metric: {} for metric in metrics}
        self._entries = 0

    def clear(self) -> None:
        """Forget everything: another training begins."""
        for values in self.measured.values():
            values.clear()
        self._entries = 0

    def read(self, state: TrainerState) -> Measured:
        """Return all values so far, by metric and step."""
        for entry in state.log_history[self._entries :]:
            for metric, values in self.measured.items():
                value = next((entry[key] for key in _keys(metric) if key in entry), None)
                if value is not None:
                    values.setdefault(int(entry["step"]), float(value))
        self._entries = len(state.log_history)
        return self.measured


def _metrics(plan: Plan) -> list[str]:
    """Name the metrics that decide how a run goes on."""
    wanted = [phase.length.metric for phase in plan.phases]
    wanted.append(plan.stop_when.metric if plan.stop_when else None)
    return list(dict.fromkeys(metric for metric in wanted if metric))


def _keys(metric: str) -> tuple[str, str]:
    task, _, name = metric.partition("/")
    return f"eval_{task}_{name}", f"eval_{name}"


def _steps_per_epoch(loader: Any, args: TrainingArguments) -> int | None:
    """Return the Trainer's optimizer steps in one pass over its data, None when the data have no length."""
    try:
        return max(1, ceil(len(loader) / args.gradient_accumulation_steps))
    except (TypeError, NotImplementedError):
        return None


def _processes(args: TrainingArguments) -> Iterable[Diagnostic]:
    if args.world_size > 1:
        why = "Trainer wraps the model before a callback can act; what is thawed later would drift apart"
        yield _one_only(f"{args.world_size} processes", why)
    elif args.n_gpu > 1:
        why = "Trainer spreads the batch over them with DataParallel, which copies the model at each step"
        yield _one_only(f"{args.n_gpu} devices", why)


def _one_only(what: str, why: str) -> Diagnostic:
    message = f"the Trainer runs on {what}; the guest works in one process on one device"
    return diagnostic("FP442", message, help="start it with one, or use `freezeplan train`", notes=[why])


def _lengths(timetable: Timetable, state: TrainerState) -> Iterable[Diagnostic]:
    lengths = [(phase.name, phase.length) for phase in timetable.plan.phases]
    by_epochs = [name for name, item in lengths if item.unit != "steps" and not item.by_default]
    if timetable.steps_per_epoch is None and by_epochs:
        message = f"phase `{by_epochs[0]}` is as long as epochs, and the training data have no length"
        yield diagnostic("FP443", message, help="give the phase a number of `steps`")
    elif timetable.steps != state.max_steps:
        message = f"the Trainer takes {state.max_steps} steps; the plan's phases have {timetable.steps}"
        taken = zip(timetable.plan.phases, timetable.phase_steps, strict=True)
        notes = [f"phase `{phase.name}`: {steps} steps" for phase, steps in taken]
        advice = f"set `max_steps={timetable.steps}` in TrainingArguments"
        yield diagnostic("FP441", message, help=advice, notes=notes)


def _cannot_restore(names: list[str]) -> Diagnostic:
    message = f"phase `{names[0]}` has `restore_best`, which a callback cannot do"
    return diagnostic("FP443", message, help="leave `restore_best` out, or use `freezeplan train`")


def _never_saved(warning: Diagnostic) -> Diagnostic:
    message = f"the Trainer's checkpoints would lose what was trained: {warning.message}"
    return replace(warning, code="FP447", severity=Severity.ERROR, message=message)


def _half(what: str) -> Diagnostic:
    advice = "`Trainer(..., optimizers=guest.optimizers, callbacks=[guest.callback])`"
    return diagnostic("FP446", f"the guest is only half in the Trainer: {what}", help=advice)


def _unmeasured(metric: str, state: TrainerState) -> Diagnostic:
    first, second = _keys(metric)
    entries = [entry for entry in state.log_history if entry["step"] == state.global_step]
    there = [key for entry in entries for key in entry if key.startswith("eval_")]
    message = f"the evaluation after step {state.global_step} has no `{second}` (nor `{first}`)"
    listed = quoted(dict.fromkeys(there)) or "none"
    return diagnostic("FP444", message, help="compute it in `compute_metrics`", notes=[f"there is: {listed}"])


def _check_saved(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Refuse a saved state whose groups are others: torch would put it in place by position (FP445)."""
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
