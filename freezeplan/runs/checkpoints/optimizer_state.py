"""An optimizer's state by parameter name: torch's own form goes by position, and mixes tensors up silently."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from freezeplan.apply.optimizer_state import HELD, parts_of
from freezeplan.apply.tensors import own_copy
from freezeplan.plan.binding import OPTION_NAMES

FILE = "optimizer.safetensors"
OF_THE_PLAN = {
    "params",
    "param_names",
    "name",
    "optimizer",
    "lr",
    "initial_lr",
    "weight_decay",
}


def save_optimizer(optimizer: torch.optim.Optimizer, folder: Path) -> dict[str, Any]:
    """Write the tensors of an optimizer's state as ``<parameter>/<key>``.

    Returns what a file of tensors cannot hold, for :func:`restore_optimizer`: ``parameters`` (names of those
    that have any state), ``values`` (plain numbers) and ``elsewhere`` (tensors that are not on their
    parameter's device, such as a step counter on the CPU), and ``groups``: by name, what an optimizer from
    elsewhere counts there.
    """
    tensors: dict[str, torch.Tensor] = {}
    counted = {group["name"]: counts for group, counts in counts_of(optimizer) if counts}
    more: dict[str, Any] = {"parameters": [], "values": {}, "elsewhere": [], "groups": counted}
    for name, parameter in named(optimizer):
        if parameter not in optimizer.state:
            continue
        more["parameters"].append(name)
        for key, value in optimizer.state[parameter].items():
            if not isinstance(value, torch.Tensor):
                more["values"][f"{name}/{key}"] = value
                continue
            tensors[f"{name}/{key}"] = own_copy(value)
            if value.device != parameter.device:
                more["elsewhere"].append(f"{name}/{key}")
    save_file(_apart(tensors), folder / FILE, metadata={"format": "pt"})
    return more


def _apart(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copy tensors that share their memory with one before: some optimizers keep one table for all parameters."""
    seen: set[int] = set()
    found = {}
    for path, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        found[path] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return found


def restore_optimizer(optimizer: torch.optim.Optimizer, folder: Path, more: Mapping[str, Any]) -> None:
    """Put the state that :func:`save_optimizer` wrote in the place of an optimizer's own, by name.

    Rates and options of the groups stay as they are: the plan decides them.
    """
    restore_counts(optimizer, more.get("groups", {}))
    parameters = dict(named(optimizer))
    optimizer.state.clear()
    for name in more["parameters"]:
        optimizer.state[parameters[name]] = {}
    for path, tensor in load_file(folder / FILE).items():
        name, _, key = path.rpartition("/")
        parameter = parameters[name]
        place = torch.device("cpu") if path in more["elsewhere"] else parameter.device
        optimizer.state[parameter][key] = tensor.to(place)
    for path, value in more["values"].items():
        name, _, key = path.rpartition("/")
        optimizer.state[parameters[name]][key] = value


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
