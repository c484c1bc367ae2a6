"""An optimizer's state by parameter name: torch's own form goes by position, and mixes tensors up silently."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from freezeplan.apply.optimizer_counts import counts_of, named, restore_counts
from freezeplan.apply.tensors import is_shared_out, shared_like
from freezeplan.runs.tensor_files import read_tensors, write_tensors

FILE = "optimizer.safetensors"


def save_optimizer(optimizer: torch.optim.Optimizer, folder: Path) -> dict[str, Any]:
    """Write the tensors of an optimizer's state as ``<parameter>/<key>``.

    Returns what a file of tensors cannot hold, for :func:`restore_optimizer`: ``parameters`` (names of those
    that have any state), ``values`` (plain numbers) and ``elsewhere`` (tensors that are not on their
    parameter's device, such as a step counter on the CPU), and ``groups``: by name, what an optimizer from
    elsewhere counts there.
    """
    tensors = tensors_of(optimizer)
    counted = {group["name"]: counts for group, counts in counts_of(optimizer) if counts}
    more: dict[str, Any] = {"parameters": [], "values": {}, "elsewhere": [], "groups": counted}
    for name, parameter in named(optimizer):
        if parameter not in optimizer.state:
            continue
        more["parameters"].append(name)
        for key, value in optimizer.state[parameter].items():
            if not isinstance(value, torch.Tensor):
                more["values"][f"{name}/{key}"] = value
            elif value.device != parameter.device:
                more["elsewhere"].append(f"{name}/{key}")
    write_tensors(folder / FILE, _apart(tensors))
    return more


def tensors_of(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return the tensors of an optimizer's state by ``<parameter>/<key>``, as they are."""
    return {
        f"{name}/{key}": value
        for name, parameter in named(optimizer)
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, torch.Tensor)
    }


def _apart(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copy tensors that share their memory with one before: some optimizers keep one table for all parameters."""
    seen: set[int] = set()
    found = {}
    for path, tensor in tensors.items():
        place = None if is_shared_out(tensor) else tensor.untyped_storage().data_ptr()
        found[path] = tensor.clone() if place in seen else tensor
        seen |= {place} - {None}
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
    for path, tensor in read_tensors(folder / FILE):
        name, _, key = path.rpartition("/")
        parameter = parameters[name]
        place = torch.device("cpu") if path in more["elsewhere"] else parameter.device
        values = tensor.to(place)
        optimizer.state[parameter][key] = (
            shared_like(values, parameter) if values.shape == parameter.shape else values
        )
    for path, value in more["values"].items():
        name, _, key = path.rpartition("/")
        optimizer.state[parameters[name]][key] = value
