"""Reads from the code of a module how it uses its children; a module without a source tells nothing."""

from __future__ import annotations

import ast
import inspect
import linecache
import re
import textwrap
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

# A child of a module where its code names it, and what follows: an index is taken as part of the name.
USE = re.compile(r"\bself\.(\w+)(?:\[\w+\])?(\.weight\b|\s*=[^=])?")

# More columns than a line has, so that a line and a column make one number.
WIDEST = 100_000


def order_of_use(modules: Iterable[tuple[str, Any]]) -> Callable[[str], Mapping[str, tuple[int, int]]]:
    """Return what tells where in the text of a module's forward function each child is named first and last."""
    by_path = dict(modules)

    return lambda path: uses_in(type(by_path[path])) if path in by_path else {}


@cache
def uses_in(kind: type) -> Mapping[str, tuple[int, int]]:
    """Return where in the text of a class's forward function each child is named first and last."""
    found: dict[str, tuple[int, int]] = {}
    for place, name in sorted(_places(source_of(getattr(kind, "forward", None)))):
        first, _ = found.get(name, (place, 0))
        found[name] = (first, place)
    return found


def _places(text: str) -> Iterator[tuple[int, str]]:
    """Yield where a function names each child; where it calls one, the end of the call: what it takes runs first."""
    try:
        tree = ast.parse(textwrap.dedent(text))
    except SyntaxError:
        return
    called = {id(_held_by(node.func)): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            call = called.get(id(node))
            line, column = (call.end_lineno, call.end_col_offset) if call else (node.lineno, node.col_offset)
            yield (line or 0) * WIDEST + (column or 0), node.attr


def _held_by(part: ast.expr) -> ast.expr:
    """Return the ``self.x`` of which ``self.x.y.z`` is a part; any other expression as it is."""
    while isinstance(part, ast.Attribute) and isinstance(part.value, ast.Attribute):
        part = part.value
    return part


def only_read(modules: Iterable[tuple[str, Any]]) -> Callable[[str], frozenset[str]]:
    """Return what names the children of a module of which its code reads the weight and does nothing else."""
    by_path = dict(modules)
    return lambda path: _only_read(type(by_path[path])) if path in by_path else frozenset()


@cache
def _only_read(kind: type) -> frozenset[str]:
    read, used = set(), set()
    for name, rest in (match.groups() for text in _sources(kind) for match in USE.finditer(text)):
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
