"""Reads from the code of a module how it uses its children; a module without a source tells nothing."""

from __future__ import annotations

import inspect
import linecache
import re
import tokenize
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

# A child of a module where its code names it, and what follows: an index is taken as part of the name.
CHILD = re.compile(r"\bself\.(\w+)")
USE = re.compile(r"\bself\.(\w+)(?:\[\w+\])?(\.weight\b|\s*=[^=])?")


def order_of_use(modules: Iterable[tuple[str, Any]]) -> Callable[[str], Mapping[str, tuple[int, int]]]:
    """Return what tells where in the text of a module's forward function each child is named first and last."""
    by_path = dict(modules)

    def uses(path: str) -> Mapping[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        source = source_of(type(by_path[path]).forward) if path in by_path else ""
        for match in CHILD.finditer(source):
            first, _ = found.get(match[1], (match.start(), 0))
            found[match[1]] = (first, match.start())
        return found

    return uses


def only_read(modules: Iterable[tuple[str, Any]]) -> Callable[[str], frozenset[str]]:
    """Return what names the children of a module of which its code reads the weight and does nothing else."""
    by_path = dict(modules)
    return lambda path: _only_read(type(by_path[path])) if path in by_path else frozenset()


@cache
def _only_read(kind: type) -> frozenset[str]:
    read, used = set(), set()
    for name, rest in (match.groups() for source in _sources(kind) for match in USE.finditer(source)):
        if rest == ".weight":
            read.add(name)
        elif rest is None:
            used.add(name)
    return frozenset(read - used)


def _sources(kind: type) -> Iterable[str]:
    """Yield the text of each function of a class and of its bases, up to those of the libraries around it."""
    for base in kind.__mro__:
        if base.__module__.startswith(("torch.", "builtins")) or base.__name__ == "PreTrainedModel":
            continue
        yield from (source_of(value) for value in vars(base).values() if inspect.isfunction(value))


def source_of(function: Any) -> str:
    """Return the text of a function, empty where it has none.

    ``inspect.getsource`` would look through all imported modules first, which takes seconds.
    """
    code = getattr(inspect.unwrap(function), "__code__", None)
    lines = linecache.getlines(code.co_filename) if code else []
    try:
        return "".join(inspect.getblock(lines[code.co_firstlineno - 1 :])) if lines else ""
    except (SyntaxError, tokenize.TokenError):  # the file is no longer what was imported
        return ""
