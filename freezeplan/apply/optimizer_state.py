"""What an optimizer remembers of each tensor: given up, made anew, and completed, as torch itself would."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy as copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# What optimizers keep in a group of the steps so far: schedule-free's are k, weight_sum, lr_max and scheduled_lr.
COUNTERS = frozenset(["step", "k", "weight_sum", "lr_max", "scheduled_lr"])
# The key under which a group's counters stand still while it is frozen.
HELD = "held_counters"
# What torch adds to a tensor's state for an option that is on, and only when it makes the state.
SLOTS = {"amsgrad": "max_exp_avg_sq", "centered": "grad_avg", "momentum": "momentum_buffer"}


def innermost(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Return the optimizer inside accelerate's wrapper, or the optimizer itself."""
    return getattr(optimizer, "optimizer", optimizer)


def as_one(optimizers: torch.optim.Optimizer | Sequence[torch.optim.Optimizer]) -> torch.optim.Optimizer:
    """Return several optimizers as one, and one as it is."""
    from freezeplan.apply.chain import OptimizerChain

    if not isinstance(optimizers, Sequence):
        return optimizers
    if len(optimizers) == 1:
        return optimizers[0]
    return OptimizerChain([innermost(optimizer) for optimizer in optimizers])


def owner_of(group: dict[str, Any], optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Return the optimizer of a chain that holds a group; any other is itself."""
    parts = parts_of(optimizer)
    return next((part for part in parts if any(own is group for own in part.param_groups)), parts[0])


def parts_of(optimizer: torch.optim.Optimizer) -> Sequence[torch.optim.Optimizer]:
    """Return the optimizers of a chain; any other is its own only part."""
    inner = innermost(optimizer)
    parts: Sequence[torch.optim.Optimizer] = getattr(inner, "optimizers", (inner,))
    return parts


def drop_state(optimizer: torch.optim.Optimizer, tensors: Iterable[torch.nn.Parameter]) -> None:
    """Remove all that an optimizer remembers of some tensors, in place."""
    state = innermost(optimizer).state
    for tensor in tensors:
        state.pop(tensor, None)


def restart_counters(group: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Let a group whose tensors have no state count its steps from the start, in place.

    Optimizers outside of torch (Lamb, StableAdamW, schedule-free ones) count the steps of a group, frozen or not,
    in the group. Beside a state that is new, such a count makes the first steps too large; beside one that was
    kept, it goes on from where it stood when the group froze (see :func:`hold_counters`).
    """
    inner = owner_of(group, optimizer)
    group.update(group.pop(HELD, {}))
    if any(inner.state.get(tensor) for tensor in group["params"]):
        return
    for key in COUNTERS.intersection(group):
        if key in inner.defaults:
            group[key] = inner.defaults[key]
        else:
            del group[key]


def hold_counters(group: dict[str, Any]) -> None:
    """Note the counts of a group that is frozen from here on, in the group: its optimizer goes on counting."""
    # A counter may be a tensor, which goes on counting.
    counters = {key: copy(group[key]) for key in sorted(COUNTERS.intersection(group))}
    if counters:
        group.setdefault(HELD, counters)


def complete_state(group: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Add to the state of a group's tensors what a step of the optimizer takes for granted, in place.

    Adagrad makes its state when it is built, from one ``initial_accumulator_value`` for all groups: a tensor
    that has no state, or has taken no step, gets the group's own. An option that the group had off
    when a tensor's state was made (``amsgrad``, ``centered``, RMSprop's ``momentum``) gets its zeros.
    """
    inner = owner_of(group, optimizer)
    for tensor in group["params"]:
        if _is_adagrad(inner) and not _has_stepped(inner.state.get(tensor)):
            inner.state[tensor] = _adagrad_state(group, tensor)
        _add_slots(group, tensor, inner.state.get(tensor) or {})


def _is_adagrad(optimizer: torch.optim.Optimizer) -> bool:
    import torch

    return isinstance(optimizer, torch.optim.Adagrad)


def _has_stepped(state: dict[str, Any] | None) -> bool:
    return bool(state) and float(state["step"]) > 0


def _adagrad_state(group: dict[str, Any], tensor: torch.nn.Parameter) -> dict[str, Any]:
    """Let torch make the state of one tensor: in an Adagrad that holds nothing else."""
    import torch

    settings = {key: group[key] for key in ("initial_accumulator_value", "fused") if key in group}
    return torch.optim.Adagrad([tensor], **settings).state[tensor]


def _add_slots(group: dict[str, Any], tensor: torch.nn.Parameter, state: dict[str, Any]) -> None:
    import torch

    for option, slot in SLOTS.items():
        # Without a state, torch makes it whole at the next step.
        if state and group.get(option) and slot not in state:
            state[slot] = torch.zeros_like(tensor, memory_format=torch.preserve_format)
