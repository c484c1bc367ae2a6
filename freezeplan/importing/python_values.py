"""What a Python expression gives, worked out without running it: literals, arithmetic, f-strings, short loops."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

MOST_ROUNDS = 10_000
LONGEST = 10_000
ARITHMETIC: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
LOOPS: Mapping[str, Callable[..., Any]] = {"range": range, "enumerate": enumerate, "zip": zip, "len": len}


class NotWorkedOut(Exception):
    """Say that only a run of the file would give the value."""


def worked_out(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """Return what an expression gives, with the values of names; raises :class:`NotWorkedOut`."""
    try:
        return _worked_out(node, names)
    except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError, MemoryError):
        raise NotWorkedOut from None


def _worked_out(node: ast.expr, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_worked_out(entry, names) for entry in node.elts]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = _worked_out(node.operand, names)
        return -value if isinstance(node.op, ast.USub) else +value
    if isinstance(node, ast.JoinedStr):
        return _short("".join(_worked_out_part(part, names) for part in node.values))
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        return _arithmetic(node, names)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _loop_over(LOOPS[node.func.id], [_worked_out(entry, names) for entry in node.args])
    raise NotWorkedOut


def _arithmetic(node: ast.BinOp, names: Mapping[str, Any]) -> Any:
    left, right = _worked_out(node.left, names), _worked_out(node.right, names)
    numbers = all(isinstance(item, (int, float)) for item in (left, right))
    joined = isinstance(node.op, ast.Add) and type(left) is type(right) and type(left) in (str, list)
    if not (numbers or joined):
        raise NotWorkedOut
    return _short(ARITHMETIC[type(node.op)](left, right))


def _worked_out_part(part: ast.expr, names: Mapping[str, Any]) -> str:
    if isinstance(part, ast.FormattedValue):
        value = _worked_out(part.value, names)
        if part.conversion != -1 or part.format_spec is not None or not isinstance(value, (str, int)):
            raise NotWorkedOut
        return str(value)
    return str(_worked_out(part, names))


def _loop_over(function: Callable[..., Any], arguments: list[Any]) -> Any:
    if function is range and len(range(*arguments)) > MOST_ROUNDS:
        raise NotWorkedOut
    value = function(*arguments)
    return (
        value
        if isinstance(value, int)
        else [list(item) if isinstance(item, tuple) else item for item in value]
    )


def _short(value: Any) -> Any:
    if isinstance(value, (str, list)) and len(value) > LONGEST:
        raise NotWorkedOut
    return value


def rounds(generators: list[ast.comprehension], names: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the names of each round of a comprehension, with their values; raises :class:`NotWorkedOut`."""
    if not generators:
        yield dict(names)
        return
    first, *inner = generators
    if first.ifs or first.is_async:
        raise NotWorkedOut
    for value in worked_out(first.iter, names):
        yield from rounds(inner, {**names, **_bound(first.target, value)})


def _bound(target: ast.expr, value: Any) -> dict[str, Any]:
    if isinstance(target, ast.Name):
        return {target.id: value}
    if isinstance(target, ast.Tuple) and isinstance(value, list) and len(value) == len(target.elts):
        pairs = zip(target.elts, value, strict=True)
        return {name: item for part, one in pairs for name, item in _bound(part, one).items()}
    raise NotWorkedOut
