"""Ties as the loaded model has them: a checkpoint that holds both tensors, with other values, is not tied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from freezeplan.models.checkpoint import WeightsProblem, checkpoint_names, tensor_slice
from freezeplan.models.provided import BACKBONE, base_prefix
from freezeplan.models.renaming import filled_by
from freezeplan.models.resolve import Source
from freezeplan.models.run_record import RunRecord, file_of
from freezeplan.models.run_weights import weight_names

CHUNK = 1 << 16
Place = tuple[Path, str]
"""A file of tensors, or the folder of a checkpoint in some of them, and a tensor's name there."""


def untie_as_loaded(model: Any, source: Source) -> None:
    """Give each tied tensor of a model a tensor of its own where its source's checkpoint has two.

    ``model`` is one of transformers, on the meta device, and changed in place. This is what ``from_pretrained``
    does with a checkpoint that is not tied though its config says so.
    """
    pairs = tied_pairs(model)
    stored = _stored(source, model) if pairs else {}
    untie(model, [name for name, other in pairs.items() if _are_two(stored.get(name), stored.get(other))])


def _stored(source: Source, model: Any) -> dict[str, Place]:
    """Return where on this machine the values of a model's tensors are, as far as that is known."""
    if source.run is not None and source.folder is not None:
        return dict(_in_run(source.folder, source.run, base_prefix(model)))
    folder = source.files
    names = checkpoint_names(folder) if folder and source.file is None else None
    filled = filled_by(names, model) if names else None
    return {name: (folder, stored) for name, stored in (filled or {}).items() if folder}


def _in_run(folder: Path, run: RunRecord, prefix: str) -> Iterator[tuple[str, Place]]:
    for file in run.weights:
        path = file_of(folder, file)
        for name in weight_names(folder, {file: ""}) or ():
            if name.startswith(BACKBONE):
                yield prefix + name.removeprefix(BACKBONE), (path, name)


def tied_pairs(model: Any) -> dict[str, str]:
    """Return which parameter of a model each tied one is the same as, by their names."""
    return dict(getattr(model, "all_tied_weights_keys", None) or {})


def untie(model: Any, names: Iterable[str]) -> None:
    """Give the parameters called ``names`` tensors of their own, of the same shape, format and device."""
    import torch

    for name in names:
        parent, _, own = name.rpartition(".")
        tensor = model.get_parameter(name)
        setattr(model.get_submodule(parent), own, torch.nn.Parameter(torch.empty_like(tensor)))
        model.all_tied_weights_keys.pop(name, None)


def _are_two(one: Place | None, other: Place | None) -> bool:
    """Tell whether a checkpoint has two tensors of other values; reads no further than to the first that differ."""
    if one is None or other is None or one == other:
        return False
    try:
        with tensor_slice(*one) as left, tensor_slice(*other) as right:
            return _differ(left, right)
    except (WeightsProblem, OSError, KeyError):  # loading reports it
        return False


def _differ(left: Any, right: Any) -> bool:
    shape = left.get_shape()
    if shape != right.get_shape() or left.get_dtype() != right.get_dtype():
        return True
    starts = range(0, shape[0], CHUNK)
    return any(not left[at : at + CHUNK].equal(right[at : at + CHUNK]) for at in starts)
