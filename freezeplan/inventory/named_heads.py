"""Reads which of its parts a model itself calls its head: by an accessor, or by its number of classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from freezeplan.inventory.names import canonical_modules, join, unwrapped
from freezeplan.inventory.structure import parent

# What returns the head: timm's models have the first, models of language the second.
ACCESSORS = ("get_classifier", "get_output_embeddings")
CLASSES = "num_classes"
OUTPUTS = ("out_features", "out_channels")
INPUTS = ("in_features", "in_channels")


def names_its_head(model: Any) -> bool:
    """Tell whether a model's class has an accessor for its head."""
    return any(callable(getattr(type(model), name, None)) for name in ACCESSORS)


def heads_by_accessor(model: Any, path: str) -> tuple[str, ...] | None:
    """Return the paths of the heads that a model's accessor returns, of a model that stands at a path.

    Empty where the accessor returns modules without parameters, or fails for a model of no classes: it has no head.
    None where it returns nothing that stands in the model.
    """
    inside = {id(module): place for place, module, _ in reversed(list(canonical_modules(model))) if place}
    for name in ACCESSORS:
        returned = list(_modules(_asked(model, name)))
        heads = [module for module in returned if _has_parameters(module)]
        if returned and all(id(module) in inside for module in heads):
            return tuple(join(path, inside[id(module)]) for module in heads)
    return () if _classes(model) == 0 else None


def heads_by_classes(model: Any) -> tuple[str, ...] | None:
    """Return the paths of the modules whose outputs are as many as the model says that it has classes.

    None where it does not say it, or where none or several modules fit that cannot all be heads: a width inside
    the model may be the same number. Several are heads where they stand side by side and have one shape.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 3))
    >>> model.num_classes = 3
    >>> heads_by_classes(model)
    ('1',)
    """
    count = _classes(model)
    if not count:
        return None if count is None else ()
    found = fitting(model)
    parents, inputs = {parent(path) for path in found}, {_size(module, INPUTS) for module in found.values()}
    alike = len(parents) == len(inputs) == 1 and count not in inputs
    return tuple(found) if len(found) == 1 or alike else None


def fitting(model: Any) -> dict[str, Any]:
    """Return the modules with parameters whose outputs are as many as a model has classes, by their paths."""
    count = _classes(model)
    return {
        path: module
        for path, module, _ in canonical_modules(model)
        if path and count and _size(module, OUTPUTS) == count and _has_parameters(module)
    }


def _asked(model: Any, accessor: str) -> Any:
    try:
        return getattr(model, accessor)()
    except Exception:  # noqa: BLE001 - timm's own fail where a model has no head
        return None


def _modules(returned: Any) -> Iterator[Any]:
    if hasattr(returned, "_parameters"):
        yield unwrapped(returned)
    elif isinstance(returned, (list, tuple)):
        for item in returned:
            yield from _modules(item)
    elif isinstance(returned, Mapping):
        yield from _modules(list(returned.values()))


def _has_parameters(module: Any) -> bool:
    return any(True for _ in module.parameters())


def _classes(model: Any) -> int | None:
    count = getattr(model, CLASSES, None)
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None


def _size(module: Any, names: Iterable[str]) -> int | None:
    return next((size for name in names if isinstance(size := getattr(module, name, None), int)), None)
