"""Reads from a module's code whether a list of its children runs one after the other, or side by side."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from freezeplan.inventory.structure import as_index, last, parent
from freezeplan.inventory.usage import source_of

SEQUENCE, PARALLEL = "sequence", "parallel"
# An attribute of self, and how many indexes or loops lead from it to an item.
Item = tuple[str, int]
# Bases whose code says nothing about the lists of a model.
ROOTS = ("Module", "PreTrainedModel", "object", "Sequential", "ModuleList")
PAIRED = ("enumerate", "zip", "reversed", "list", "tuple", "iter")


def order_of_lists(modules: Iterable[tuple[str, Any]]) -> Callable[[str], str | None]:
    """Return what tells how the items of a list run: ``sequence`` or ``parallel``, None where no code says it."""
    by_path = dict(modules)

    def runs(path: str) -> str | None:
        module = by_path.get(path)
        names = [kind.__name__ for kind in type(module).__mro__]
        if names[0] == "Sequential":
            return SEQUENCE
        own = _loops(type(module)).get(("", 1)) if module is not None else None
        owner, depth = path, 1
        while as_index(last(owner)) is not None and parent(owner) in by_path:
            owner, depth = parent(owner), depth + 1
        holder = by_path.get(parent(owner)) if owner else None
        asked = _loops(type(holder)).get((last(owner), depth)) if holder is not None else None
        return own or asked or (SEQUENCE if "Sequential" in names else None)

    return runs


@cache
def _loops(kind: type) -> Mapping[Item, str]:
    found: dict[Item, str] = {}
    for base in kind.__mro__:
        functions = () if base.__name__ in ROOTS else vars(base).values()
        for item, order in (pair for value in functions for pair in _of_function(value)):
            if found.get(item) != SEQUENCE:
                found[item] = order
    for name, depth in [item for item, order in found.items() if order == SEQUENCE]:
        # Where the items of a list inside run one after the other, so do those of the list around it.
        for above in range(1, depth):
            found.setdefault((name, above), SEQUENCE)
    return found


def _of_function(value: Any) -> list[tuple[Item, str]]:
    text = source_of(value) if inspect.isfunction(value) else ""
    try:
        tree = ast.parse(textwrap.dedent(text))
    except SyntaxError:
        return []
    return list(_in_statements(tree.body, {}, ()))


def _in_statements(
    body: list[ast.stmt], names: Mapping[str, Item], around: tuple[ast.stmt, ...]
) -> Iterator[tuple[Item, str]]:
    for statement in body:
        known, loop = names, around
        if isinstance(statement, (ast.For, ast.AsyncFor)):
            known = {**names, **dict(_bound(statement.target, statement.iter, names))}
            loop = tuple(statement.body)
        for child in _blocks(statement):
            yield from _in_statements(child, known, loop)
        for part in _expressions(statement):
            yield from _in_expression(part, known, loop)


def _blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        if block := getattr(statement, name, None):
            yield block
    for handler in getattr(statement, "handlers", ()):
        yield handler.body


def _expressions(statement: ast.stmt) -> Iterator[ast.expr]:
    return (child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.expr))


def _in_expression(
    part: ast.AST, names: Mapping[str, Item], loop: tuple[ast.stmt, ...]
) -> Iterator[tuple[Item, str]]:
    if isinstance(part, (ast.ListComp, ast.GeneratorExp, ast.SetComp, ast.DictComp)):
        inner = dict(names)
        for clause in part.generators:
            inner.update(_bound(clause.target, clause.iter, inner))
        yield from ((item, PARALLEL) for call in _calls(part) if (item := _called(call, inner)))
        return
    if isinstance(part, ast.Call) and (item := _called(part, names)):
        yield item, SEQUENCE if _feeds_itself(part, names, loop) else PARALLEL
    for child in ast.iter_child_nodes(part):
        yield from _in_expression(child, names, loop)


def _calls(part: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(part) if isinstance(node, ast.Call))


def _called(call: ast.Call, names: Mapping[str, Item]) -> Item | None:
    """Return the item of a list that a call runs, itself or by a function that takes it first."""
    item = _item(call.func, names)
    first = call.args[0] if call.args else None
    if item is None and first is not None and not isinstance(call.func, ast.Subscript):
        if isinstance(call.func, ast.Name) and call.func.id in (
            *PAIRED,
            "len",
            "isinstance",
            "hasattr",
            "getattr",
        ):
            return None
        item = _item(
            first.value if isinstance(first, ast.Attribute) and first.attr == "__call__" else first, names
        )
    return item if item is not None and item[1] > 0 else None


def _item(part: ast.expr, names: Mapping[str, Item]) -> Item | None:
    if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == "self":
        return part.attr, 0
    if isinstance(part, ast.Name):
        return ("", 0) if part.id == "self" else names.get(part.id)
    if isinstance(part, ast.Subscript):
        item = _item(part.value, names)
        deeper = 0 if isinstance(part.slice, ast.Slice) else 1
        return (item[0], item[1] + deeper) if item else None
    return None


def _bound(target: ast.expr, source: ast.expr, names: Mapping[str, Item]) -> Iterator[tuple[str, Item]]:
    """Yield which names a loop binds to items of which list."""
    called = source.func.id if isinstance(source, ast.Call) and isinstance(source.func, ast.Name) else ""
    if called == "enumerate" and isinstance(target, ast.Tuple) and len(target.elts) == 2:
        yield from _bound(target.elts[1], source.args[0], names)
    elif called == "zip" and isinstance(target, ast.Tuple):
        for name, part in zip(target.elts, source.args, strict=False):
            yield from _bound(name, part, names)
    elif called in PAIRED and source.args:
        yield from _bound(target, source.args[0], names)
    elif item := _item(source, names):
        deeper = (target,) if isinstance(target, ast.Name) else getattr(target, "elts", ())
        depth = item[1] + (1 if isinstance(target, ast.Name) else 2)
        yield from ((name.id, (item[0], depth)) for name in deeper if isinstance(name, ast.Name))


def _feeds_itself(call: ast.Call, names: Mapping[str, Item], loop: tuple[ast.stmt, ...]) -> bool:
    """Tell whether what a call in a loop returns is what it takes the next time around."""
    made: set[str] = set()
    for _ in range(2):
        for statement in loop:
            for node in ast.walk(statement):
                made.update(_made(node, call, made))
    taken = {part.id for argument in call.args for part in _plain_names(argument)}
    taken |= {part.id for word in call.keywords for part in _plain_names(word.value)}
    return bool((taken - names.keys()) & made)


def _made(node: ast.AST, call: ast.Call, made: set[str]) -> set[str]:
    """Return the names that a statement gives a value in which the call's result has a part."""
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)) and node.value is not None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if _has_part(node.value, call, made):
            return {part.id for target in targets for part in _plain_names(target)}
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
    ):
        grows = node.func.attr in ("append", "extend", "insert")
        if grows and any(_has_part(argument, call, made) for argument in node.args):
            return {node.func.value.id}
    return set()


def _has_part(value: ast.expr, call: ast.Call, made: set[str]) -> bool:
    return any(node is call or (isinstance(node, ast.Name) and node.id in made) for node in ast.walk(value))


def _plain_names(part: ast.AST) -> Iterator[ast.Name]:
    """Yield the names in an expression, apart from those of which one place is taken by a name as index."""
    if isinstance(part, ast.Name):
        yield part
    elif not (isinstance(part, ast.Subscript) and isinstance(part.slice, ast.Name)):
        for child in ast.iter_child_nodes(part):
            yield from _plain_names(child)
