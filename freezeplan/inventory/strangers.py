"""Finds models that were put beside, or into, the base of a model that says what its base is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from freezeplan.inventory.names import join, unwrapped
from freezeplan.inventory.put_into import put_into
from freezeplan.inventory.said import (
    ABSTRACT,
    PARTS,
    base_of,
    is_of_transformers,
    says_its_base,
    says_its_parts,
)
from freezeplan.inventory.structure import is_under, under_any


def strangers(model: Any, path: str, modules: Sequence[tuple[str, Any]]) -> list[str]:
    """Return the paths of the models that stand in a model at a path and are no parts of its architecture.

    ``modules`` are those of the whole, parents first. What a class of transformers builds is part of it; so is, in
    an architecture that transformers did not write, what has the same abstract class.
    """
    if not says_its_base(model) or getattr(type(model), PARTS, None) or (base := base_of(model)) is None:
        return []
    inner = unwrapped(model.get_submodule(base)) if base else model
    own = {id(module) for module in inner.modules()} - {id(inner)} if base else set()
    places = list(_places(model, inner, path, join(path, base) if base else path))
    return [place for place, module in _outermost(modules, places) if _is_other(module, model, inner, own)]


def family(module: Any) -> set[type]:
    """Return the abstract classes of an architecture that transformers did not write."""
    return {
        base
        for base in type(module).__mro__
        if base.__name__.endswith(ABSTRACT) and base.__module__.partition(".")[0] != "transformers"
    }


def _places(model: Any, inner: Any, path: str, base: str) -> Iterator[str]:
    """Yield what was put into a model, and into its base; of a class of one's own, what stands beside the base."""
    yield from (join(base, name) for name in put_into(inner))
    if inner is model:
        return
    names: Iterable[str] = put_into(model) if is_of_transformers(model) else model._modules
    yield from (place for name in names if not is_under(base, place := join(path, name)))


def _outermost(modules: Sequence[tuple[str, Any]], places: Sequence[str]) -> Iterator[tuple[str, Any]]:
    taken: list[str] = []
    for path, module in modules:
        if under_any(path, places) and says_its_parts(module) and not under_any(path, taken):
            taken.append(path)
            yield path, module


def _is_other(module: Any, model: Any, inner: Any, own: set[int]) -> bool:
    return module is not inner and id(module) not in own and not family(module) & family(model)
