"""The config of another tool as plain data, with the place of every key and value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from freezeplan.diagnostics import Diagnostic, DiagnosticError, Span, diagnostic
from freezeplan.diagnostics.wording import closest
from freezeplan.spec.locations import KeyPath, dotted
from freezeplan.spec.sources import SourceText, UnreadableSpec, read_file


@dataclass(frozen=True)
class Unknown:
    """Stand for a value that only running the file would give; ``text`` is what is written."""

    text: str


@dataclass(frozen=True)
class ConfigFile:
    """What a file holds: a table, and where its keys and values stand.

    ``read`` gathers the key paths that were asked for: what is left over is said, or refused.
    """

    source: SourceText
    data: Mapping[Any, Any]
    places: Mapping[KeyPath, Span]
    read: set[KeyPath] = field(default_factory=set, compare=False, repr=False)

    def span(self, path: KeyPath) -> Span | None:
        """Return where the value at a key path stands, or what is closest around it."""
        ends = range(len(path), -1, -1)
        return next((self.places[path[:end]] for end in ends if path[:end] in self.places), None)

    def at(self, *path: str | int) -> Any:
        """Return the value at a key path, None where there is none, and note that it was read."""
        self.read.add(path)
        return self.peek(*path)

    def peek(self, *path: str | int) -> Any:
        """Return the value at a key path, None where there is none."""
        value: Any = self.data
        for part in path:
            if isinstance(value, Mapping):
                value = value.get(part)
            else:
                inside = isinstance(value, list) and isinstance(part, int) and part < len(value)
                value = value[part] if inside else None
        return value

    def error(self, path: KeyPath, code: str, message: str, advice: str | None = None) -> DiagnosticError:
        """Return an error that points at a key."""
        return DiagnosticError([self.finding(path, code, message, advice)])

    def finding(
        self, path: KeyPath, code: str, message: str, advice: str | None = None, notes: tuple[str, ...] = ()
    ) -> Diagnostic:
        """Return a diagnostic that points at a key."""
        return diagnostic(code, message, span=self.span(path), help=advice, notes=notes)

    def _known(self, path: KeyPath) -> Any:
        value = self.at(*path)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Unknown):
                message = f"`{item.text}` is known when the file runs, and nothing of it is run"
                raise self.error(path, "FP193", message, "write the value itself")
        return value

    def table(self, *path: str | int) -> Mapping[Any, Any]:
        """Return the table at a key path, an empty one where there is none."""
        value = self._known(path)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.error(path, "FP190", f"`{dotted(path)}` is no table of keys")
        return value

    def entries(self, *path: str | int) -> list[Any]:
        """Return the list at a key path, an empty one where there is none."""
        value = self._known(path)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.error(path, "FP190", f"`{dotted(path)}` is no list")
        return value

    def text(self, *path: str | int) -> str | None:
        """Return the string at a key path, None where there is none."""
        value = self._known(path)
        if value is not None and not isinstance(value, str):
            raise self.error(path, "FP190", f"`{dotted(path)}` is no string")
        return value

    def number(self, *path: str | int) -> float | None:
        """Return the number at a key path; YAML reads `1e-5` as text, which is meant as a number all the same."""
        value = self._known(path)
        if value is None:
            return None
        try:
            number = float("nan") if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        if not isfinite(number):
            raise self.error(path, "FP190", f"`{dotted(path)}` is not a number")
        return number

    def rate(self, *path: str | int) -> float | None:
        """Return the number at a key path, which may not be below 0."""
        number = self.number(*path)
        if number is not None and number < 0:
            raise self.error(path, "FP193", f"`{dotted(path)}` is below 0")
        return number

    def strings(self, *path: str | int, split: bool = False) -> list[tuple[KeyPath, str]]:
        """Return the strings at a key path, each with its own path; ``split`` takes one apart at its commas."""
        value = self._known(path)
        if value is None:
            return []
        if isinstance(value, str):
            parts = [part.strip() for part in value.split(",")] if split else [value]
            return [(path, part) for part in parts if part]
        if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
            return [((*path, index), entry) for index, entry in enumerate(value)]
        raise self.error(path, "FP190", f"`{dotted(path)}` is not a string, nor a list of strings")

    def without(self, reasons: Mapping[str, str], *table: str) -> None:
        """Refuse keys that change what trains, or how, in a way that is not restated; ``reasons`` says why."""
        for key, reason in reasons.items():
            if self.at(*table, key):
                raise self.error((*table, key), "FP193", f"`{key}` cannot be imported: {reason}")

    def near(self, key: str, known: tuple[str, ...]) -> str | None:
        """Return which known key a strange one is close to."""
        return closest(key, known)


def read_config(path: Path) -> ConfigFile:
    """Read a config: YAML or JSON, the ``optim_wrapper`` of a Python file, or options of a command line.

    Raises ``DiagnosticError`` with FP001 to FP004 for a file that cannot be opened, FP190 for text that is none.
    """
    from freezeplan.importing.base_files import with_bases
    from freezeplan.importing.command_line import from_command_line
    from freezeplan.importing.python_file import from_python
    from freezeplan.importing.yaml_file import from_yaml

    try:
        source = read_file(path)
    except UnreadableSpec as problem:
        raise DiagnosticError([problem.as_diagnostic()]) from None
    if path.suffix == ".py":
        return with_bases(ConfigFile(source, *from_python(source)), path)
    if path.suffix in (".sh", ".bash", ".txt", ".args"):
        return ConfigFile(source, *from_command_line(source))
    return ConfigFile(source, *from_yaml(source))
