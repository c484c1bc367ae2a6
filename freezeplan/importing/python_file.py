"""The assignments of a Python config as plain data with places; nothing of it runs."""

from __future__ import annotations

import ast
from typing import Any

from freezeplan.diagnostics import DiagnosticError, Span, diagnostic
from freezeplan.importing.config_file import Unknown
from freezeplan.importing.yaml_file import Places
from freezeplan.spec.locations import KeyPath
from freezeplan.spec.sources import SourceText


class _Reader:
    """Read literals, ``dict(...)`` calls and the names of earlier assignments."""

    def __init__(self, source: SourceText) -> None:
        self.source = source
        self.places: Places = {}
        self.nodes: dict[str, ast.expr] = {}

    def value(self, node: ast.expr, path: KeyPath) -> Any:
        self.places[path] = self.span(node)
        if isinstance(node, ast.Name) and node.id in self.nodes and len(path) < 64:
            return self.value(self.nodes[node.id], path)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
            return {word.arg: self.value(word.value, (*path, word.arg)) for word in node.keywords if word.arg}
        if isinstance(node, ast.Dict):
            return self.table(node, path)
        if isinstance(node, (ast.List, ast.Tuple)):
            return [self.value(entry, (*path, index)) for index, entry in enumerate(node.elts)]
        return self.scalar(node)

    def table(self, node: ast.Dict, path: KeyPath) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if not (isinstance(key, ast.Constant) and isinstance(key.value, (str, int))):
                raise self.error(value, "a key that is not written out cannot be read")
            if key.value in found:
                raise self.error(key, f"`{key.value}` is written twice")
            found[key.value] = self.value(value, (*path, key.value))
        return found

    def scalar(self, node: ast.expr) -> Any:
        """Return a literal, or the product or quotient of two: configs write ``4e-3 * 1024 / 512``."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)):
            left, right = self.scalar(node.left), self.scalar(node.right)
            numbers = all(isinstance(item, (int, float)) for item in (left, right))
            if numbers and (right or isinstance(node.op, ast.Mult)):
                return left * right if isinstance(node.op, ast.Mult) else left / right
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            # What an import or a call gives is known when the file runs, and nothing runs here.
            return Unknown(ast.unparse(node)[:60])

    def span(self, node: ast.AST) -> Span:
        line = self.source.lines[node.lineno - 1]
        start = len(line.encode()[: node.col_offset].decode("utf-8", "ignore"))
        end = node.end_col_offset if node.end_lineno == node.lineno else len(line.encode())
        length = len(line.encode()[node.col_offset : end].decode("utf-8", "ignore"))
        return Span(self.source.name, node.lineno, start + 1, max(length, 1), line)

    def error(self, node: ast.AST, message: str) -> DiagnosticError:
        return DiagnosticError([diagnostic("FP190", message, span=self.span(node))])


def from_python(source: SourceText) -> tuple[dict[Any, Any], Places]:
    """Return what a Python config assigns at its top, the last assignment to a name, and the places.

    Values that a call or an import would give are :class:`Unknown`. Raises ``DiagnosticError`` (FP190).
    """
    try:
        tree = ast.parse(source.text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = min(max(getattr(error, "lineno", None) or 1, 1), len(source.lines))
        message = f"the config cannot be read: {getattr(error, 'msg', None) or error}"
        span = source.span_at(line, max(getattr(error, "offset", None) or 1, 1))
        raise DiagnosticError([diagnostic("FP190", message, span=span)]) from None
    reader, data = _Reader(source), {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
            if isinstance(target, ast.Name):
                data[target.id] = reader.value(statement.value, (target.id,))
                reader.nodes[target.id] = statement.value
    reader.places[()] = source.first
    return data, reader.places
