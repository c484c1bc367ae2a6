"""The best epoch of a phase in somebody else's trainer: kept in memory, saved with the optimizer, and brought back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch

from freezeplan.apply.driver import PhaseDriver
from freezeplan.apply.ending import best_of, falls_of
from freezeplan.apply.matching import named_tensors
from freezeplan.apply.optimizer_counts import counts_of, named, restore_counts
from freezeplan.diagnostics import DiagnosticError, diagnostic

LOG = logging.getLogger("freezeplan")
KEY = "best_epoch"
"""The key of a saved optimizer state under which the best epoch so far lies."""


class BestEpoch:
    """Bring back weights, buffers and optimizer state of a phase's best epoch, where the phase says so.

    A host evaluates, then calls :meth:`settle`. What the phase trains is copied to the CPU after each epoch that is
    the best so far. The copy is saved with the optimizer's state, so a resumed host has it whatever else it keeps.
    """

    def __init__(self, driver: PhaseDriver) -> None:
        self.driver = driver
        self._kept: dict[str, Any] | None = None
        self._settled = 0
        driver.optimizer.register_state_dict_post_hook(self._save)
        driver.optimizer.register_load_state_dict_pre_hook(self._load)

    def begin(self, step: int) -> None:
        """Begin a training after ``step`` steps, once what was measured before is known; at 0 nothing was."""
        if step == 0:
            self._kept = None
        measured = any(step in values for values in self.driver.values.values())
        self._settled = step if measured else 0

    def settle(self, step: int) -> int | None:
        """Keep the epoch that ends with ``step`` steps if it is its phase's best; bring the best back where that ends.

        Returns the step whose weights came back, if any. Raises FP445 where a checkpoint did not bring them.
        """
        driver = self.driver
        ends = driver.timetable.measured_ends(step, driver.values) if step != self._settled else ()
        if not ends or ends[-1] != step or driver.lacking(step):
            return None
        phase = driver.timetable.place(step - 1, driver.values).phase
        length = driver.plan.phases[phase].length
        if not length.restore_best:
            return None
        self._settled = step
        values = [driver.values[length.metric][end] for end in ends]
        best = ends[best_of(values, falls_of(length))]
        after = driver.place(step)
        if after is not None and after.phase == phase:
            if best == step:
                self._kept = self._copy(step, phase)
            return None
        return None if driver.timetable.stopped(step, driver.values) else self._end(best, step)

    def _end(self, best: int, step: int) -> int | None:
        kept, self._kept = self._kept, None
        if best == step:
            return None
        if kept is None or kept["step"] != best:
            raise DiagnosticError([_lost(best)])
        self._bring_back(kept)
        LOG.info("step %d: the weights after step %d come back, the best of the phase", step, best)
        return best

    def _copy(self, step: int, phase: int) -> dict[str, Any]:
        optimizer = self.driver.optimizer
        state = {name: optimizer.state.get(tensor, {}) for name, tensor in named(optimizer)}
        return {
            "step": step,
            "tensors": {name: _own(tensor) for name, tensor in self._tensors(phase).items()},
            "state": {
                name: {key: _own(value) for key, value in found.items()}
                for name, found in state.items()
                if found
            },
            "counts": {group["name"]: counts for group, counts in counts_of(optimizer) if counts},
            "phase": phase,
        }

    def _tensors(self, phase: int) -> dict[str, torch.Tensor]:
        """Return what can differ between two epochs of a phase."""
        model, plan = self.driver.model, self.driver.plan
        found, trained = named_tensors(model, plan), plan.names(phase, trainable=True)
        return {name: found[name] for name in trained} | dict(model.named_buffers())

    def _bring_back(self, kept: Mapping[str, Any]) -> None:
        optimizer = self.driver.optimizer
        with torch.no_grad():
            for name, tensor in self._tensors(kept["phase"]).items():
                tensor.copy_(kept["tensors"][name])
        for name, tensor in named(optimizer):
            now = optimizer.state.pop(tensor, {})
            if name in kept["state"]:
                optimizer.state[tensor] = _placed(kept["state"][name], now)
        restore_counts(optimizer, kept["counts"])

    def _save(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        if self._kept is not None:
            state[KEY] = self._kept

    def _load(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        self._kept = state.pop(KEY, None)


def _own(value: Any) -> Any:
    return value.detach().to("cpu", copy=True) if isinstance(value, torch.Tensor) else value


def _placed(state: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state with each tensor where the one stands that it takes the place of."""
    return {
        key: value.to(now[key].device, copy=True) if isinstance(value, torch.Tensor) else value
        for key, value in state.items()
    }


def _lost(step: int) -> Any:
    return diagnostic(
        "FP445",
        f"the checkpoint lacks the weights after step {step}, the best epoch of its phase",
        help="start again from the checkpoint's weights: a guest saves that epoch with the optimizer's state",
    )
