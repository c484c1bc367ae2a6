"""What runs before a module, by the code of the modules around it, or else by registration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from freezeplan.inventory.names import join
from freezeplan.inventory.structure import ancestors, last, parent
from freezeplan.inventory.usage import uses_in

Found = Sequence[tuple[str, Any, Any]]
"""The modules of a model as they are walked: path, module, and what wraps it."""


def runs_before(path: str, found: Found) -> tuple[str, ...]:
    """Return the paths of the modules, and of single parameters, that run before a module.

    At each level above it, those are what the forward function of the module there uses first; of what it does not
    name (a Sequential's names nothing), the parameters and what is registered first.
    """
    modules = {place: module for place, module, _ in found}
    return tuple(
        join(parent(step), other)
        for step in ancestors(path)
        if step
        for other in _earlier(last(step), modules.get(parent(step)))
    )


def _earlier(step: str, module: Any) -> Iterator[str]:
    """Yield the names of what a module holds and uses before one of its children."""
    held = [] if module is None else [*module._parameters, *module._modules]
    places = uses_in(type(module)) if module is not None else {}
    for at, other in enumerate(held):
        known = other in places and step in places
        sooner = places[other][0] < places[step][0] if known else step in held and at < held.index(step)
        if other != step and sooner:
            yield other
