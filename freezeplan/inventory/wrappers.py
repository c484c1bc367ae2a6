"""Finds in a live model the one that says what its base is, whatever modules of one's own stand around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from freezeplan.diagnostics.wording import some
from freezeplan.inventory.beside import unknown_parts
from freezeplan.inventory.named_heads import ACCESSORS, CLASSES, fitting, heads_by_accessor, heads_by_classes
from freezeplan.inventory.names import class_names
from freezeplan.inventory.records import Doubt
from freezeplan.inventory.said import (
    PARTS,
    base_of,
    is_of_transformers,
    said_by,
    says_its_base,
    says_its_parts,
)
from freezeplan.inventory.strangers import family, strangers
from freezeplan.inventory.structure import Hints, is_under, smallest, under_any

MOST_NAMED = 4

Modules = Sequence[tuple[str, Any]]


@dataclass(frozen=True)
class Known:
    """Hold a model that says what its base is, and the path at which it is first registered."""

    path: str
    module: Any


def with_parts(hints: Hints, modules: Modules) -> Hints:
    """Return the hints with the base and the heads of a model, whose modules are given parents first.

    The one model below that says what its base is (transformers' own, or one of ours), or names its head (timm's),
    says it for the whole; what stands beside it is found later, in the tree. Where none does, the outermost may still
    count its classes. Where nothing or several say it, a doubt says so.
    """
    found = models_in(modules)
    while len(found) == 1 and (inner := _composed_of(found[0], modules)):
        found = inner
    heads = heads_by_classes(modules[0][1]) if not found else None
    if heads is not None:
        return replace(hints, base="", heads=heads)
    if len(found) != 1:
        return replace(hints, doubts=(_doubt(modules, found),))
    (known,) = found
    if others := strangers(known.module, known.path, modules):
        return replace(hints, doubts=(_second(known, others),))
    hints = said_by(known.module, known.path, hints)
    if not says_its_base(known.module) and hints.heads is None:
        return replace(hints, base=None, doubts=(_no_head(known, modules),))
    if hints.head_only and hints.base_children is None and not is_of_transformers(known.module):
        return _with_named_heads(hints, known, modules)
    return replace(hints, root=known.path, twins=_twins(known, modules))


def _with_named_heads(hints: Hints, known: Known, modules: Modules) -> Hints:
    """Take the head that a class of one's own in transformers' frame names, whose base is no module of it."""
    hints = replace(hints, head_only=False)
    if heads := heads_by_accessor(known.module, known.path):
        return replace(hints, root=known.path, base=known.path, heads=heads, twins=_twins(known, modules))
    name = class_names(known.module)[0]
    reason = f"`{name}` has no module that its `base_model_prefix` names, so nothing says where its base ends"
    return replace(hints, base=None, doubts=(_unknown_inside(known, modules, reason),))


def models_in(modules: Modules, below: str | None = None) -> list[Known]:
    """Return the outermost models that say what their base is, each once, those below a path alone if one is given.

    One that is also registered beside a model which holds it is a part of that one.
    """
    tops: dict[int, Known] = {}
    paths: list[str] = []
    for path, module in modules:
        inside = below is None or (path != below and is_under(path, below))
        if inside and says_its_parts(module) and not under_any(path, paths):
            paths.append(path)
            tops.setdefault(id(module), Known(path, module))
    held = {
        id(inner) for known in tops.values() for inner in known.module.modules() if inner is not known.module
    }
    return [known for number, known in tops.items() if number not in held]


def _composed_of(known: Known, modules: Modules) -> list[Known]:
    """Return the models that a class of one's own puts together; none for an architecture, whose parts they are."""
    module = known.module
    if not says_its_base(module):
        return [item for item in models_in(modules, known.path) if says_its_base(item.module)]
    if getattr(type(module), PARTS, None) or base_of(module) is not None or is_of_transformers(module):
        return []
    inner = models_in(modules, known.path)
    own = family(module)
    return [] if all(family(item.module) & own for item in inner) else inner


def _twins(known: Known, modules: Modules) -> tuple[tuple[str, str], ...]:
    """Return where else parts of a model are registered: the other path, and the one in the model."""
    inside: dict[int, str] = {}
    for path, module in modules:
        if is_under(path, known.path):
            inside.setdefault(id(module), path)
    others = {
        path: inside[id(module)]
        for path, module in modules
        if not is_under(path, known.path) and id(module) in inside
    }
    return tuple((path, others[path]) for path in smallest(others))


def _doubt(modules: Modules, found: list[Known]) -> Doubt:
    name = class_names(modules[0][1])[0]
    first = found[0].path if found else _first_with_parameters(modules)
    named = some([item.path for item in found], MOST_NAMED)
    if found:
        return unknown_parts(
            f"`{name}` holds {len(found)} models, each with a base of its own: {named}", first
        )
    if fits := list(fitting(modules[0][1])):
        count = getattr(modules[0][1], CLASSES)
        several = f"`{name}` has {CLASSES} = {count}, and so many outputs have {some(fits, MOST_NAMED)}"
        return unknown_parts(f"{several}: not all of them can be heads", fits[-1])
    reason = f"`{name}` is no model of transformers and holds none, and names no head (`{ACCESSORS[0]}`, `{CLASSES}`)"
    return unknown_parts(f"{reason}, so nothing says where its base ends", first)


def _second(known: Known, others: list[str]) -> Doubt:
    reason = f"beside the base of `{class_names(known.module)[0]}` stands another model, in {some(others, MOST_NAMED)}"
    return unknown_parts(reason, others[0])


def _no_head(known: Known, modules: Modules) -> Doubt:
    accessors = [name for name in ACCESSORS if hasattr(known.module, name)]
    name = class_names(known.module)[0]
    reason = f"`{accessors[0]}()` of `{name}` returns no module of it, so nothing says where its base ends"
    return _unknown_inside(known, modules, reason)


def _unknown_inside(known: Known, modules: Modules, reason: str) -> Doubt:
    below = [item for item in modules if item[0] != known.path and is_under(item[0], known.path)]
    return unknown_parts(reason, _first_with_parameters(below))


def _first_with_parameters(modules: Modules) -> str:
    return next((path for path, module in modules if path and any(True for _ in module.parameters())), "")
