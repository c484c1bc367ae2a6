"""Which trainable tensors a phase really reached: gradients at each task's first step, and the rates used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from freezeplan.apply.tensors import parameters_by_name, whole


@dataclass
class GradientWatch:
    """Remember, per tensor, the largest gradient seen, and per group the largest and the smallest rate.

    ``largest`` maps names to the largest absolute gradient over the watched steps, None when no step gave
    any. ``tasks`` are those that were trained at least once. ``rates`` maps groups' names to their highest
    rate so far, ``lowest`` to their lowest.
    """

    names: tuple[str, ...]
    largest: dict[str, float | None] = field(default_factory=dict)
    tasks: set[str] = field(default_factory=set)
    rates: dict[str, float] = field(default_factory=dict)
    lowest: dict[str, float] = field(default_factory=dict)

    def see_gradients(self, model: torch.nn.Module, tasks: Iterable[str]) -> None:
        """Look at the gradients of a step of tasks that no step trained before; cheap for all later steps."""
        new = set(tasks) - self.tasks
        if not new:
            return
        self.tasks |= new
        parameters = parameters_by_name(model)
        for name in self.names:
            gradient = parameters[name].grad
            if gradient is not None:
                size = float(whole(gradient).abs().max()) if gradient.numel() else 0.0
                self.largest[name] = max(size, self.largest.get(name) or 0.0)

    def see_rates(self, rates: Mapping[str, float]) -> None:
        """Note the rates that a step used."""
        for name, rate in rates.items():
            self.rates[name] = max(rate, self.rates.get(name, 0.0))
            self.lowest[name] = min(rate, self.lowest.get(name, rate))

    @property
    def without_gradient(self) -> tuple[str, ...]:
        """Trainable tensors that no task's first step gave a gradient, in the order of the plan."""
        return tuple(name for name in self.names if self.largest.get(name) is None)

    def as_record(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "names": list(self.names),
            "largest": self.largest,
            "tasks": sorted(self.tasks),
            "rates": self.rates,
            "lowest": self.lowest,
        }


def watch_of(record: Mapping[str, Any]) -> GradientWatch:
    """Return the watch that :meth:`GradientWatch.as_record` wrote."""
    return GradientWatch(
        tuple(record["names"]),
        dict(record["largest"]),
        set(record["tasks"]),
        dict(record["rates"]),
        dict(record["lowest"]),
    )


def joined(watches: Sequence[GradientWatch]) -> GradientWatch:
    """Return what several phases saw, taken together."""
    whole = GradientWatch(tuple(dict.fromkeys(name for watch in watches for name in watch.names)))
    for watch in watches:
        whole.tasks |= watch.tasks
        whole.see_rates(watch.rates)
        whole.see_rates(watch.lowest)
        for name, size in watch.largest.items():
            whole.largest[name] = max(size or 0.0, whole.largest.get(name) or 0.0)
    return whole
