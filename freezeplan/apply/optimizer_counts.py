"""What optimizers count in their groups, apart from what the plan sets there, as plain numbers."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from freezeplan.apply.optimizer_state import HELD, parts_of
from freezeplan.plan.binding import OPTION_NAMES

OF_THE_PLAN = {
    "params",
    "param_names",
    "name",
    "optimizer",
    "lr",
    "initial_lr",
    "weight_decay",
}


def counts_of(optimizer: torch.optim.Optimizer) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each group with what its optimizer has changed there since it was built, as plain numbers.

    What the plan sets does not count: it is set again.
    """
    for part in parts_of(optimizer):
        # Prodigy counts what it has found in `d`, which is an option of Adafactor.
        options = set(OPTION_NAMES).intersection(inspect.signature(type(part)).parameters)
        for group in part.param_groups:
            yield group, _counts(group, part.defaults, OF_THE_PLAN | options)


def _counts(group: dict[str, Any], defaults: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    numbers = {key: value for key, value in group.items() if key not in known and is_number(value)}
    changed = {key: plain(value) for key, value in numbers.items() if _differs(value, defaults, key)}
    held = {HELD: {key: plain(value) for key, value in group[HELD].items()}} if HELD in group else {}
    return changed | held


def _differs(value: Any, defaults: Mapping[str, Any], key: str) -> bool:
    return key not in defaults or bool(value != defaults[key])


def is_number(value: Any) -> bool:
    """Whether a value is a number, true, false, or a tensor of one."""
    return isinstance(value, (bool, int, float)) or (isinstance(value, torch.Tensor) and value.numel() == 1)


def plain(value: Any) -> Any:
    """Return a number as JSON holds it; one in a tensor with its number format.

    >>> plain(torch.tensor(3)), plain(0.5)
    ({'number': 3, 'dtype': 'int64'}, 0.5)
    """
    if isinstance(value, torch.Tensor):
        return {"number": value.item(), "dtype": str(value.dtype).removeprefix("torch.")}
    return value


def _counted(value: Any, own: Any) -> Any:
    """Return what :func:`plain` was given; a tensor on the device of the one that a new optimizer has, if any."""
    if isinstance(value, dict) and value.keys() == {"number", "dtype"}:
        device = own.device if isinstance(own, torch.Tensor) else "cpu"
        return torch.tensor(value["number"], dtype=getattr(torch, value["dtype"]), device=device)
    if isinstance(value, dict):
        return {key: _counted(inner, None) for key, inner in value.items()}
    return value


def restore_counts(optimizer: torch.optim.Optimizer, counts: Mapping[str, Mapping[str, Any]]) -> None:
    """Put the counts of :func:`counts_of` in the place of a new optimizer's, by the names of the groups."""
    for group in optimizer.param_groups:
        for key, value in counts.get(group.get("name", ""), {}).items():
            group[key] = _counted(value, group.get(key))


def named(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Yield the name and tensor of every parameter of an optimizer that was built over named groups."""
    for group in optimizer.param_groups:
        yield from zip(group["param_names"], group["params"], strict=True)
