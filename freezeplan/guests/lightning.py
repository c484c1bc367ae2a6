"""A plan's phases inside Lightning's Trainer: one callback that brings its optimizer."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from math import ceil, isinf
from typing import TYPE_CHECKING, Any

import torch

from freezeplan.apply.driver import PhaseDriver, check_saved_groups, reported
from freezeplan.apply.groups import build_optimizer
from freezeplan.apply.logged_names import logged_rates
from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import quoted
from freezeplan.guests.best_epoch import BestEpoch
from freezeplan.guests.processes import await_wrapping, process_problems
from freezeplan.guests.refusals import another_length, check_saved_plan, without_end
from freezeplan.guests.strays import StrayGradients, check_hosted
from freezeplan.plan.document import plan_hash
from freezeplan.plan.records import Plan

PACKAGES = ("lightning.pytorch", "pytorch_lightning")

# Callbacks that do a plan's work by themselves, by class (their subclasses too), and what they do.
COMPETING = {
    "BaseFinetuning": "freezes and thaws by itself",
    "StochasticWeightAveraging": "sets the rates itself, and averages in an epoch after the last",
}


def _callback_class() -> type:
    """Return the Callback of the package that is in use, else of one that is installed."""
    for name in sorted(PACKAGES, key=lambda name: name not in sys.modules):
        try:
            return import_module(name).Callback
        except ModuleNotFoundError:
            continue
    raise ModuleNotFoundError("LightningGuest needs Lightning: pip install lightning")


if TYPE_CHECKING:
    Callback = Any
else:
    Callback = _callback_class()

LOG = logging.getLogger("freezeplan")


class LightningGuest(Callback):
    """Execute a plan's phases in a stock Lightning Trainer, as a callback that brings the optimizer.

    Give it to the Trainer's callbacks, and return :meth:`configure_optimizers` from the module's own. It enters each
    phase between two optimizer steps (``trainer.global_step`` counts them), sets every group's rate for each step,
    logs ``lr/<group>``, and stops the Trainer at the end of the plan, so ``max_epochs=-1`` is enough. A metric
    ``task/name`` that ends a phase (``until``) or the run (``stop_when``) is read from the module's validation: what
    it logs as ``task/name``, ``val_task_name``, ``val/task/name``, ``val_name`` or ``val/name``; one with a ``mode`` by
    its own name. It brings back a phase's best epoch (``restore_best``) where the phase ends. Frozen modules stay
    in eval mode through Lightning's own ``model.train()``. A Trainer that resumes goes on in the right phase.

    ``model`` is what the plan was compiled for: the LightningModule, or a module inside it; ``options`` go to the
    optimizer's class. Raises :class:`freezeplan.DiagnosticError` when the plan trains nothing (FP413), is for another
    model (FP414), or beside callbacks that freeze or set rates themselves (``BaseFinetuning`` and its kinds,
    ``StochasticWeightAveraging``: FP443). When training starts, it raises it for processes or devices that it
    cannot serve (FP442), for a Trainer that ends before the plan (FP441), for manual optimization, or epochs over data
    without a length (FP443), for a metric that was not measured or that differs between processes (FP444), for a
    checkpoint of another plan (FP445), for another optimizer (FP446), and for weights that train in no group (FP448).

    ::

        class Module(lightning.LightningModule):
            def configure_optimizers(self):
                return self.guest.configure_optimizers()

        module.guest = guest = LightningGuest(module, plan)
        lightning.Trainer(max_epochs=-1, callbacks=[guest]).fit(module, rows)
    """

    def __init__(self, model: torch.nn.Module, plan: Plan, **options: Any) -> None:
        # A module that holds its guest must not hold itself by it.
        self._model = [model]
        self.plan = plan
        self.options = options
        self.driver: PhaseDriver | None = None
        self._best: BestEpoch | None = None
        self._loaded: dict[str, Any] = {}
        self._strays: StrayGradients | None = None

    @property
    def model(self) -> torch.nn.Module:
        """The module that the plan was compiled for."""
        return self._model[0]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the plan's optimizer, one object also where the plan has several."""
        optimizer = build_optimizer(self.model, self.plan, **self.options)
        optimizer.register_load_state_dict_pre_hook(check_saved_groups)
        self.driver = PhaseDriver(self.model, self.plan, optimizer)
        self._best = BestEpoch(self.driver)
        return optimizer

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Let everything that any phase trains need a gradient, before Lightning wraps the model."""
        if stage != "fit":
            return
        if competing := [*_competing(trainer.callbacks)]:
            raise DiagnosticError(competing)
        await_wrapping(self.model, self.plan)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Check that this Trainer can execute the plan, and lay out its steps."""
        driver = self._driving(trainer)
        check_hosted(pl_module, self.model)
        if not pl_module.automatic_optimization:
            raise DiagnosticError(
                [_unable("the module steps its optimizer itself", "use automatic optimization")]
            )
        driver.begin(_steps_per_epoch(trainer), _host_steps(trainer))
        self._take_back(driver)
        self._best.begin(trainer.global_step)
        problems = [*self._processes(trainer), *_lengths(driver, trainer)]
        if problems:
            raise DiagnosticError(problems)
        if driver.lacking(trainer.global_step):
            _validate(trainer)
        if driver.over(trainer.global_step):
            LOG.warning("the plan is over after %d steps: nothing is trained", trainer.global_step)
            trainer.should_stop = True
        else:
            self._strays = StrayGradients(self.model)

    def _driving(self, trainer: Any) -> PhaseDriver:
        if self.driver is None or [item for item in trainer.optimizers if item is not self.driver.optimizer]:
            raise DiagnosticError([_half("the Trainer has another optimizer")])
        return self.driver

    def _processes(self, trainer: Any) -> Iterable[Diagnostic]:
        return process_problems(
            self.model,
            self.plan,
            kind=_kind(trainer.strategy),
            devices=1,
            loose=[],
            option='use `strategy="ddp_find_unused_parameters_true"`',
        )

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Enter the phase of the next optimizer step if it is a new one, and set the step's rates."""
        step, driver = trainer.global_step, self._driving(trainer)
        if lacking := driver.lacking(step):
            names = self._names(lacking[0])
            raise DiagnosticError([_unmeasured(lacking[0], names, step, trainer.callback_metrics)])
        driver.before_step(step)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Look, after the first backward pass, for weights in no group."""
        if self._strays is not None:
            self._strays.check()
            self._strays = None

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the rates of the step, and stop where the plan ends."""
        driver = self._driving(trainer)
        pl_module.log_dict(logged_rates(driver.rates), on_step=True, on_epoch=False)
        self._stop_if_over(trainer)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Note what was measured; stop where that ends the last phase, or the run."""
        if trainer.sanity_checking or trainer.state.fn != "fit" or self.driver is None:
            return
        found = {
            metric: _value(self._names(metric), trainer.callback_metrics) for metric in self.driver.values
        }
        values = {metric: value for metric, value in found.items() if value is not None}
        if apart := _apart(trainer, values):
            raise DiagnosticError([_differing(apart)])
        self.driver.measured(trainer.global_step, values)
        self._best.settle(trainer.global_step)
        self._stop_if_over(trainer)

    def _names(self, metric: str) -> tuple[str, ...]:
        return (metric,) if metric in reported(self.plan) else _names(metric)

    def _stop_if_over(self, trainer: Any) -> None:
        if self._driving(trainer).over(trainer.global_step):
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Return the plan's hash, and what was measured by metric and step."""
        return {"plan": plan_hash(self.plan), "measured": self.driver.values if self.driver else {}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what was measured before; raise FP445 for another plan's state."""
        check_saved_plan(self.plan, state_dict["plan"])
        self._loaded = state_dict["measured"]

    def _take_back(self, driver: PhaseDriver) -> None:
        for metric, values in self._loaded.items():
            for step, value in values.items():
                driver.measured(int(step), {metric: value})
        self._loaded = {}


def _validate(trainer: Any) -> None:
    """Validate before the first step, as the Trainer does after an epoch.

    From a checkpoint that was written after an epoch's last batch and before its validation, it goes on without one.
    """
    loop = trainer.fit_loop.epoch_loop.val_loop
    loop.restarting = False
    trainer.validating = True
    loop.run()
    trainer.training = True


def _steps_per_epoch(trainer: Any) -> int | None:
    """Return the Trainer's optimizer steps in one pass over its data, None when the data have no length."""
    batches = trainer.num_training_batches
    return None if isinf(batches) else max(1, ceil(batches / trainer.accumulate_grad_batches))


def _host_steps(trainer: Any) -> int | None:
    """Return how many steps the Trainer takes at most, None where it sets no end."""
    steps = trainer.estimated_stepping_batches
    return None if isinf(steps) or steps < 0 else int(steps)


def _lengths(driver: PhaseDriver, trainer: Any) -> Iterable[Diagnostic]:
    table = driver.timetable
    if endless := without_end(table):
        yield endless
    elif table.host_steps is not None and table.host_steps < table.steps:
        advice = "set `max_epochs=-1`: the guest stops the Trainer where the plan ends"
        yield another_length(table, table.host_steps, advice)
    elif _least_steps(trainer, table.steps_per_epoch) > table.steps:
        message = "`min_steps` or `min_epochs` of the Trainer is beyond the plan's end"
        yield diagnostic("FP441", message, help="leave it out: the plan has its length")


def _least_steps(trainer: Any, epoch: int | None) -> int:
    return max(trainer.min_steps or 0, (trainer.min_epochs or 0) * (epoch or 0))


def _kind(strategy: Any) -> str:
    """Name how a strategy shares the work among processes."""
    name = type(strategy).__name__
    known = {"FSDPStrategy": "FSDP", "DeepSpeedStrategy": "DeepSpeed", "ModelParallelStrategy": "FSDP"}
    return known.get(name, name)


def _names(metric: str) -> tuple[str, ...]:
    task, slash, name = metric.partition("/")
    if not slash:
        return metric, f"val_{metric}", f"val/{metric}"
    return metric, f"val_{task}_{name}", f"val/{task}/{name}", f"val_{name}", f"val/{name}"


def _value(names: Iterable[str], found: Mapping[str, Any]) -> float | None:
    return next((float(found[name]) for name in names if name in found), None)


def _apart(trainer: Any, values: Mapping[str, float]) -> str | None:
    """Name a metric that differs between the processes, where there are several."""
    if trainer.world_size == 1 or not values:
        return None
    own = torch.tensor(list(values.values()), dtype=torch.float64, device=trainer.strategy.root_device)
    each = trainer.strategy.all_gather(own).reshape(-1, len(values))
    equal = (each == each[0]).all(dim=0)
    return next((metric for metric, same in zip(values, equal.tolist(), strict=True) if not same), None)


def _competing(callbacks: Iterable[Any]) -> Iterable[Diagnostic]:
    """Report callbacks that would undo what the plan says."""
    for callback in callbacks:
        for kind in type(callback).__mro__:
            if does := COMPETING.get(kind.__name__):
                yield _unable(
                    f"the callback `{type(callback).__name__}` {does}", "leave it out beside a plan"
                )


def _unable(message: str, advice: str) -> Diagnostic:
    return diagnostic("FP443", message, help=advice)


def _half(what: str) -> Diagnostic:
    advice = "return `guest.configure_optimizers()` from the module's `configure_optimizers`"
    return diagnostic("FP446", f"the guest is only half in the Trainer: {what}", help=advice)


def _differing(metric: str) -> Diagnostic:
    message = f"`{metric}` differs between the processes, so they would go on in different phases"
    return diagnostic("FP444", message, help="log it with `sync_dist=True`")


def _unmeasured(metric: str, names: Iterable[str], step: int, found: Mapping[str, Any]) -> Diagnostic:
    message = f"nothing called `{metric}` was measured after step {step}"
    advice = f"log it in `validation_step`, under one of {quoted(names)}, in each epoch"
    listed = quoted(sorted(found)) or "none"
    return diagnostic("FP444", message, help=advice, notes=[f"there is: {listed}"])
