"""The assignments of a Python config as plain data with places; nothing of it runs."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from typing import Any

from freezeplan.diagnostics import DiagnosticError, Span, diagnostic
from freezeplan.importing.config_file import Unknown
from freezeplan.importing.python_values import MOST_ROUNDS, NotWorkedOut, rounds, worked_out
from freezeplan.importing.yaml_file import Places
from freezeplan.spec.locations import KeyPath
from freezeplan.spec.sources import SourceText

BASE = "_base_"
# Names that a config of MMEngine is read by, whether or not another assignment uses them, too.
READ = {"optim_wrapper", "model", BASE}
MOST_VALUES = 100_000


class _Reader:
    """Read literals, ``dict(...)`` calls, the names of earlier assignments, and comprehensions over short loops."""

    def __init__(self, source: SourceText) -> None:
        self.source = source
        self.data: dict[Any, Any] = {}
        self.places: Places = {}
        self.bound: dict[str, Any] = {}
        # Per name of an earlier assignment: the assignments that use it.
        self.users: dict[str, set[str]] = {}

    def value(self, node: ast.expr, path: KeyPath) -> Any:
        self.places[path] = self.span(node)
        if len(self.places) > MOST_VALUES or len(path) > 64:
            raise self.error(node, "it holds too many values")
        if isinstance(node, ast.Name) and node.id not in self.bound and node.id in self.data:
            return self.named(node.id, path)
        readers: dict[type, Callable[[Any, KeyPath], Any]] = {
            ast.Call: self.call,
            ast.Dict: self.table,
            ast.List: self.entries,
            ast.Tuple: self.entries,
            ast.DictComp: self.table_of_rounds,
            ast.ListComp: self.list_of_rounds,
        }
        return readers.get(type(node), self.scalar)(node, path)

    def named(self, name: str, path: KeyPath) -> Any:
        """Return what an earlier assignment gave, with its places."""
        self.users.setdefault(name, set()).add(str(path[0]))
        below = [(key, span) for key, span in self.places.items() if key[:1] == (name,)]
        self.places |= {(*path, *key[1:]): span for key, span in below}
        return copy.deepcopy(self.data[name])

    def call(self, node: ast.Call, path: KeyPath) -> Any:
        """Read ``dict(…)``; what another call gives is known when the file runs, and nothing runs here."""
        if not (isinstance(node.func, ast.Name) and node.func.id == "dict"):
            return self.scalar(node, path)
        first = [(None, entry) for entry in node.args]
        return self.pairs([*first, *((word.arg, word.value) for word in node.keywords)], node, path)

    def entries(self, node: ast.List | ast.Tuple, path: KeyPath) -> Any:
        if any(isinstance(entry, ast.Starred) for entry in node.elts):
            return self.unknown(node)
        return [self.value(entry, (*path, index)) for index, entry in enumerate(node.elts)]

    def table(self, node: ast.Dict, path: KeyPath) -> Any:
        pairs: list[tuple[Any, ast.expr]] = []
        for key, value in zip(node.keys, node.values, strict=True):
            name = None if key is None else self.scalar(key, path)
            if key is not None and (isinstance(name, bool) or not isinstance(name, (str, int))):
                raise self.error(value, "a key that is not written out cannot be read")
            if name is not None and name in [known for known, _ in pairs]:
                raise self.error(node if key is None else key, f"`{name}` is written twice")
            pairs.append((name, value))
        return self.pairs(pairs, node, path)

    def pairs(self, pairs: list[tuple[Any, ast.expr]], node: ast.expr, path: KeyPath) -> Any:
        """Return a table of keys and values; a key that is None takes all of another table."""
        found: dict[Any, Any] = {}
        for name, value in pairs:
            if name is not None:
                found[name] = self.value(value, (*path, name))
                continue
            other = self.value(value, path)
            if not isinstance(other, dict):
                return self.unknown(node)
            found |= other
        return found

    def table_of_rounds(self, node: ast.DictComp, path: KeyPath) -> Any:
        found: dict[Any, Any] = {}
        for _ in self.each_round(node.generators):
            key = self.scalar(node.key, path)
            if not isinstance(key, (str, int)):
                return self.unknown(node)
            found[key] = self.value(node.value, (*path, key))
            self.places[*path, key] = self.span(node)
        return found if self.all_rounds else self.unknown(node)

    def list_of_rounds(self, node: ast.ListComp, path: KeyPath) -> Any:
        each = enumerate(self.each_round(node.generators))
        found = [self.value(node.elt, (*path, index)) for index, _ in each]
        return found if self.all_rounds else self.unknown(node)

    def each_round(self, generators: list[ast.comprehension]) -> Iterator[None]:
        """Bind the names of each round in turn; ``all_rounds`` tells whether they could be worked out."""
        before, self.all_rounds = self.bound, True
        try:
            for number, names in enumerate(rounds(generators, {**self.literals(), **before})):
                if number >= MOST_ROUNDS:
                    raise NotWorkedOut
                self.bound = names
                yield
        except NotWorkedOut:
            self.all_rounds = False
        finally:
            self.bound = before

    def literals(self) -> dict[str, Any]:
        return {
            name: value for name, value in self.data.items() if isinstance(value, (str, int, float, list))
        }

    def scalar(self, node: ast.expr, _: KeyPath = ()) -> Any:
        """Return what an expression gives where that can be worked out: configs write ``4e-3 * 1024 / 512``."""
        try:
            return worked_out(node, {**self.literals(), **self.bound})
        except NotWorkedOut:
            return self.unknown(node)

    @staticmethod
    def unknown(node: ast.AST) -> Unknown:
        return Unknown(ast.unparse(node)[:60])

    def span(self, node: ast.AST) -> Span:
        line = self.source.lines[node.lineno - 1]
        start = len(line.encode()[: node.col_offset].decode("utf-8", "ignore"))
        end = node.end_col_offset if node.end_lineno == node.lineno else len(line.encode())
        length = len(line.encode()[node.col_offset : end].decode("utf-8", "ignore"))
        return Span(self.source.name, node.lineno, start + 1, max(length, 1), line)

    def error(self, node: ast.AST, message: str) -> DiagnosticError:
        return DiagnosticError([diagnostic("FP190", message, span=self.span(node))])

    def statement(self, statement: Any) -> None:
        """Read one statement: an assignment, an ``update`` of a table, or one that makes its names unknown."""
        if (target := _assigned(statement)) is not None and statement.value is not None:
            self.data[target] = self.value(statement.value, (target,))
        elif (updated := _updated(statement)) and isinstance(self.data.get(updated[0]), dict):
            self.update(*updated)
        else:
            self.do_not_know(statement)

    def update(self, name: str, call: ast.Call) -> None:
        self.change(name)
        new = self.call(
            ast.copy_location(ast.Call(ast.Name("dict"), call.args, call.keywords), call), (name,)
        )
        self.data[name] = {**self.data[name], **new} if isinstance(new, dict) else new

    def do_not_know(self, statement: ast.stmt) -> None:
        """Take the names that a statement may set or change for unknown."""
        if isinstance(statement, ast.With) and "read_base" in ast.unparse(statement.items[0]):
            self.data[BASE] = self.unknown(statement.items[0])
            self.places[BASE,] = self.span(statement)
        for name in _changed(statement) & {*self.data, *_stored(statement)}:
            self.change(name)
            self.data[name] = self.unknown(statement)
            self.places[name,] = self.span(statement)

    def change(self, name: str) -> None:
        """Take what already holds a table for unknown, when the table changes afterwards."""
        for user in self.users.get(name, set()) & self.data.keys():
            self.data[user] = Unknown(f"{user}, after a change of {name}")


def _assigned(statement: Any) -> str | None:
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    return targets[0].id if len(targets) == 1 and isinstance(targets[0], ast.Name) else None


def _updated(statement: ast.stmt) -> tuple[str, ast.Call] | None:
    """Return the name and the call of ``name.update(…)``."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "update":
        return (call.func.value.id, call) if isinstance(call.func.value, ast.Name) else None
    return None


DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


def _stored(statement: ast.stmt) -> set[str]:
    if isinstance(statement, DEFINITIONS):
        return set()
    names = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    return {node.id for node in names if isinstance(node.ctx, (ast.Store, ast.Del))}


def _changed(statement: ast.stmt) -> set[str]:
    """Return the names that a statement sets, or calls a method of, or hands to a call of its own."""
    if isinstance(statement, DEFINITIONS):
        return set()
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


def from_python(source: SourceText) -> tuple[dict[Any, Any], Places]:
    """Return what a Python config assigns at its top, the last assignment to a name, and the places.

    What other assignments use is not returned by itself. Values that a call or an import would give, and names that
    a loop or a method changes, are :class:`Unknown`. Raises ``DiagnosticError`` (FP190).
    """
    try:
        tree = ast.parse(source.text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = min(max(getattr(error, "lineno", None) or 1, 1), len(source.lines))
        message = f"the config cannot be read: {getattr(error, 'msg', None) or error}"
        span = source.span_at(line, max(getattr(error, "offset", None) or 1, 1))
        raise DiagnosticError([diagnostic("FP190", message, span=span)]) from None
    reader = _Reader(source)
    for statement in tree.body:
        reader.statement(statement)
    reader.places[()] = source.first
    helpers = reader.users.keys() - READ
    return {name: value for name, value in reader.data.items() if name not in helpers}, reader.places
