"""A plan's phases inside a stock Trainer of transformers: an optimizer, a scheduler and one callback."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from freezeplan.apply.driver import PhaseDriver, check_saved_groups, reported
from freezeplan.apply.groups import build_optimizer
from freezeplan.apply.logged_names import logged_rates
from freezeplan.apply.optimizer_state import innermost
from freezeplan.apply.phases import enter_phase
from freezeplan.apply.timetable import Timetable
from freezeplan.diagnostics import Diagnostic, DiagnosticError, Severity, diagnostic
from freezeplan.diagnostics.wording import quoted
from freezeplan.guests.arguments import without_effect
from freezeplan.guests.beside import Beside
from freezeplan.guests.best_epoch import BestEpoch
from freezeplan.guests.processes import await_wrapping, process_problems
from freezeplan.guests.refusals import another_length, check_saved_plan, without_end
from freezeplan.guests.rest import RestAtTheEnd
from freezeplan.guests.strays import StrayGradients, check_hosted
from freezeplan.plan.document import plan_hash
from freezeplan.plan.records import Plan
from freezeplan.spec.validators import SCORE

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

    def before_reporters(self, trainer: Trainer) -> None:
        """Put a Trainer's reporters (``report_to``) behind the callback, so that they see the rates it logs."""
        handler = trainer.callback_handler
        reporters = tuple(INTEGRATION_TO_CALLBACK.values())
        handler.callbacks.sort(key=lambda callback: isinstance(callback, reporters))

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
    ``stop_when``), brings back a phase's best epoch (``restore_best``), and stops the Trainer at the end of the plan.
    A metric ``task/name`` is read from ``eval_<task>_<name>`` or else ``eval_<name>``, one with a ``mode`` by its own
    name. Frozen modules stay in eval mode through the Trainer's own
    ``model.train()``. Training goes on from the Trainer's checkpoints.

    ``model`` is what the plan was compiled for: the Trainer's model, or a loss with weights of its own around it.
    Those weights train like all others, lose their gradients after each step, and are saved with the optimizer.

    On several processes (torchrun) call it on each, before training: what any phase trains needs a gradient when the
    Trainer wraps the model, and the phases begin in it.

    Raises :class:`freezeplan.DiagnosticError` when the plan trains nothing (FP413), is for another model
    (FP414), or trains what the Trainer's checkpoints of a model under PEFT leave out (FP447). When training starts,
    the callback raises it for processes or devices that it cannot serve (FP442), for another number of steps than the
    plan's (FP441), for epochs over data without a length (FP443), for a checkpoint of another plan (FP445), when it
    finds another optimizer (FP446), and for weights that the Trainer's loss depends on and that are in no group
    (FP448).
    """
    if lost := [item for item in plan.diagnostics if item.code == "FP492"]:
        raise DiagnosticError([_never_saved(lost[0])])
    optimizer = build_optimizer(model, plan, **options)
    enter_phase(model, optimizer, plan, 0)
    await_wrapping(model, plan)
    optimizer.register_load_state_dict_pre_hook(check_saved_groups)
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
        if not self._is_initial and not self._callback.driver.begun:
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
        self.driver = PhaseDriver(model, plan, optimizer)
        self.history = LoggedMetrics(self.driver)
        self._beside = Beside(model, optimizer)
        self._best = BestEpoch(self.driver)
        self._rest = RestAtTheEnd(model, optimizer, plan)
        self._strays: StrayGradients | None = None
        self._began = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Check that this Trainer can execute the plan, and lay out its steps."""
        if innermost(more["optimizer"]) is not self.optimizer:
            raise DiagnosticError([_half("the Trainer has another optimizer")])
        if not isinstance(more["lr_scheduler"], GuestScheduler):
            raise DiagnosticError([_half("the Trainer has another scheduler")])
        self.history.clear()
        self._began = False
        epoch = _steps_per_epoch(more["train_dataloader"], args)
        timetable = self.driver.begin(epoch, state.max_steps)
        host = self._host(more["model"])
        check_hosted(host, self.model)
        self._beside.begin(host, resumed=state.global_step > 0)
        self._check_plan(state)
        self._say_ignored(args)
        problems = list(self._processes(args)) or list(_lengths(timetable, state))
        if problems:
            raise DiagnosticError(problems)
        self._rest.begin(self._last_phase(state), state)
        self._best.begin(state.global_step)

    def _check_plan(self, state: TrainerState) -> None:
        """Leave the plan's hash in the Trainer's state; raise FP445 where a checkpoint brought another's."""
        saved = state.stateful_callbacks.setdefault("freezeplan", {"plan": plan_hash(self.plan)})
        check_saved_plan(self.plan, saved["plan"])

    def _say_ignored(self, args: TrainingArguments) -> None:
        if names := without_effect(args):
            LOG.warning("the plan decides; without effect in TrainingArguments: %s", quoted(names))

    def _processes(self, args: TrainingArguments) -> Iterable[Diagnostic]:
        return process_problems(
            self.model,
            self.plan,
            kind=args.distributed_state.distributed_type.value,
            devices=args.n_gpu,
            loose=self._beside.trained(),
            option="set `ddp_find_unused_parameters=True` in TrainingArguments",
        )

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Enter the phase of the next optimizer step if it is a new one, and set the step's rates."""
        if not self._rest.active:
            self._check_measured(state)
        if self._is_over(state):
            self._rest.still(self._last_phase(state), state)
            return
        self.driver.before_step(state.global_step)
        if not self._began:
            self._strays = StrayGradients(self.model)
            self._began = True
        self._set_out(self._host(more["model"]))

    def _host(self, model: Any) -> torch.nn.Module:
        """Return the Trainer's model; SetFit names an object around it that is no module."""
        return model if isinstance(model, torch.nn.Module) else self.model

    def _set_out(self, host: torch.nn.Module) -> None:
        """Do for what stands beside the Trainer's model what the Trainer does for that one alone."""
        self.optimizer.zero_grad(set_to_none=True)
        if host is not self.model:
            self.model.train()

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Freeze what the batch has thawed before the step's next one."""
        self.driver.hold_frozen()

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
        self.driver.note_rates()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> TrainerControl:
        """Ask for an evaluation where a metric decides how the run goes on, unless one comes anyway."""
        if self._rest.active:
            self._rest.end(control)
            return control
        self.history.read(state)
        if self.driver.wanted(state.global_step):
            epoch = self.driver.timetable.steps_per_epoch
            comes = args.eval_strategy == "epoch" and epoch is not None and state.global_step % epoch == 0
            control.should_evaluate = control.should_evaluate or not comes
        return self._stop_if_over(args, state, control)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> TrainerControl:
        """Bring back the best epoch where a phase ends; stop the Trainer where that was the last, or the run ends."""
        if self.driver.begun:
            self.history.read(state)
            self._best.settle(state.global_step)
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
        if self.driver.begun and self._is_over(state):
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
        if logs is not None and "loss" in logs and self.driver.rates:
            rates = logged_rates(self.driver.rates)
            logs.update(rates)
            state.log_history[-1].update(rates)

    def _is_over(self, state: TrainerState) -> bool:
        self.history.read(state)
        return self.driver.over(state.global_step)

    def _last_phase(self, state: TrainerState) -> int | None:
        self.history.read(state)
        return self.driver.last_phase(state.global_step)

    def _check_measured(self, state: TrainerState) -> None:
        """Raise FP444 when the evaluation after the last step lacks the metric that decides."""
        self.history.read(state)
        if lacking := self.driver.lacking(state.global_step):
            raise DiagnosticError([_unmeasured(_keys(lacking[0], self.plan), state)])


class LoggedMetrics:
    """Hand metrics from a Trainer's log to a driver, each entry once."""

    def __init__(self, driver: PhaseDriver) -> None:
        self.driver = driver
        self._entries = 0
        self._keys = {metric: _keys(metric, driver.plan) for metric in driver.values}

    def clear(self) -> None:
        """Forget everything: another training begins."""
        for values in self.driver.values.values():
            values.clear()
        self._entries = 0

    def read(self, state: TrainerState) -> None:
        """Hand on what was logged since the last call."""
        for entry in state.log_history[self._entries :]:
            found = {metric: _value(keys, entry) for metric, keys in self._keys.items()}
            self.driver.measured(
                int(entry["step"]), {name: value for name, value in found.items() if value is not None}
            )
        self._entries = len(state.log_history)


def _value(keys: tuple[str, ...], entry: dict[str, Any]) -> float | None:
    return next((entry[key] for key in keys if key in entry), None)


def _keys(metric: str, plan: Plan) -> tuple[str, ...]:
    """Return what a metric may be called in a Trainer's log, the most exact name first."""
    if metric in reported(plan):
        return (metric if metric.startswith("eval_") else f"eval_{metric}",)
    task, slash, name = metric.partition("/")
    return (f"eval_{task}_{name}", f"eval_{name}") if slash else (f"eval_{metric}",)


def _steps_per_epoch(loader: Any, args: TrainingArguments) -> int | None:
    """Return the Trainer's optimizer steps in one pass over its data, None when the data have no length."""
    try:
        return max(1, ceil(len(loader) / args.gradient_accumulation_steps))
    except (TypeError, NotImplementedError):
        return None


def _lengths(timetable: Timetable, state: TrainerState) -> Iterable[Diagnostic]:
    if endless := without_end(timetable):
        yield endless
    elif timetable.steps != state.max_steps:
        advice = f"set `max_steps={timetable.steps}` in TrainingArguments"
        yield another_length(timetable, state.max_steps, advice)


def _never_saved(warning: Diagnostic) -> Diagnostic:
    message = f"the Trainer's checkpoints would lose what was trained: {warning.message}"
    return replace(warning, code="FP447", severity=Severity.ERROR, message=message)


def _half(what: str) -> Diagnostic:
    advice = "`Trainer(..., optimizers=guest.optimizers, callbacks=[guest.callback])`"
    return diagnostic("FP446", f"the guest is only half in the Trainer: {what}", help=advice)


def _unmeasured(keys: tuple[str, ...], state: TrainerState) -> Diagnostic:
    *others, wanted = keys
    nor = (
        f" (nor `{others[0]}`)"
        if others
        else ", nor all that it is the mean of" * (wanted == f"eval_{SCORE}")
    )
    entries = [entry for entry in state.log_history if entry["step"] == state.global_step]
    there = [key for entry in entries for key in entry if key.startswith("eval_")]
    message = f"the evaluation after step {state.global_step} has no `{wanted}`{nor}"
    listed = quoted(dict.fromkeys(there)) or "none"
    return diagnostic("FP444", message, help="compute it in `compute_metrics`", notes=[f"there is: {listed}"])
