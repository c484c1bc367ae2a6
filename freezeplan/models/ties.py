"""Ties as the loaded model has them: a checkpoint that holds both tensors, with other values, is not tied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from freezeplan.models.checkpoint import WeightsProblem, checkpoint_names, tensor_slice
from freezeplan.models.provided import BACKBONE, base_prefix
from freezeplan.models.renaming import filled_by
from freezeplan.models.resolve import Source

CHUNK = 1 << 16


def untie_as_loaded(model: Any, source: Source) -> None:
    """Give each tied tensor of a model a tensor of its own where its source's checkpoint has two.

    ``model`` is one of transformers, on the meta device, and changed in place. This is what ``from_pretrained``
    does with a checkpoint that is not tied though its config says so.
    """
    pairs, folder = tied_pairs(model), source.files
    names = checkpoint_names(folder) if pairs and folder and source.kind != "file" else None
    if names is None or folder is None:
        return
    stored = _names_in_run(names, model) if source.run else filled_by(names, model) or {}
    untie(
        model,
        [name for name, other in pairs.items() if _are_two(folder, stored.get(name), stored.get(other))],
    )


def tied_pairs(model: Any) -> dict[str, str]:
    """Return which parameter of a model each tied one is the same as, by their names."""
    return dict(getattr(model, "all_tied_weights_keys", None) or {})


def _names_in_run(names: Iterable[str], model: Any) -> Mapping[str, str]:
    prefix = base_prefix(model)
    return {prefix + name.removeprefix(BACKBONE): name for name in names if name.startswith(BACKBONE)}


def untie(model: Any, names: Iterable[str]) -> None:
    """Give the parameters called ``names`` tensors of their own, of the same shape, format and device."""
    import torch

    for name in names:
        parent, _, own = name.rpartition(".")
        tensor = model.get_parameter(name)
        setattr(model.get_submodule(parent), own, torch.nn.Parameter(torch.empty_like(tensor)))
        model.all_tied_weights_keys.pop(name, None)


def _are_two(folder: Path, one: str | None, other: str | None) -> bool:
    """Tell whether a checkpoint has two tensors of other values; reads no further than to the first that differ."""
    if one is None or other is None or one == other:
        return False
    try:
        with tensor_slice(folder, one) as left, tensor_slice(folder, other) as right:
            return _differ(left, right)
    except (WeightsProblem, OSError, KeyError):  # loading reports it
        return False


def _differ(left: Any, right: Any) -> bool:
    shape = left.get_shape()
    if shape != right.get_shape() or left.get_dtype() != right.get_dtype():
        return True
    starts = range(0, shape[0], CHUNK)
    return any(not left[at : at + CHUNK].equal(right[at : at + CHUNK]) for at in starts)
