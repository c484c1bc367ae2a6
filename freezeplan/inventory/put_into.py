"""Finds what was put into a model of transformers that its class does not build: a head on a base model, mostly."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from freezeplan.inventory.usage import source_of

CHILD = re.compile(r"\bself\.(\w+)")
# Code that registers children by names that it makes up.
MADE_UP = re.compile(r"\badd_module\(|\bregister_module\(|\bsetattr\(|\b_modules\b")
LIBRARY, ARCHITECTURES = "transformers", "transformers.models."


def put_into(model: Any) -> tuple[str, ...]:
    """Return the names of a model's children, with parameters, of which no class of its architecture speaks.

    Nothing where the model is of none of transformers' classes, where their code is not there to be read, or makes
    up names.
    """
    known = _named_by(tuple(kind for kind in type(model).__mro__ if _builds(kind)))
    if not known:
        return ()
    return tuple(
        name
        for name, child in model._modules.items()
        if child is not None and name not in known and any(True for _ in child.parameters())
    )


def _builds(kind: type) -> bool:
    """Tell a class that builds parts of an architecture from what transformers gives all its models."""
    if kind.__module__.partition(".")[0] != LIBRARY or kind.__name__ == "PreTrainedModel":
        return False
    return kind.__module__.startswith(ARCHITECTURES) or "__init__" in vars(kind)


@cache
def _named_by(kinds: tuple[type, ...]) -> frozenset[str]:
    texts = [text for kind in kinds for text in _texts(kind)]
    if any(MADE_UP.search(text) for text in texts):
        return frozenset()
    return frozenset(name for text in texts for name in CHILD.findall(text))


def _texts(kind: type) -> Iterator[str]:
    yield from (source_of(value) for value in vars(kind).values() if inspect.isfunction(value))
