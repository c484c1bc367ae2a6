"""Where the keys and values of a (merged) spec stand in its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from freezeplan.diagnostics import Diagnostic, DiagnosticError, Span, diagnostic

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Place:
    """Hold the span of a key (or table header) and of its value; either may be absent."""

    key: Span | None
    value: Span | None
    directory: Path | None = None


@dataclass(frozen=True)
class Locations:
    """Map key paths such as ``("rule", 0, "match", 1)`` to places.

    The value span of a string includes its quotes.
    """

    places: Mapping[KeyPath, Place] = field(default_factory=dict)
    directory: Path | None = None

    def key(self, path: KeyPath) -> Span | None:
        """Return the span of the key, or of the closest enclosing one that has a span."""
        return self._closest(path, "key")

    def value(self, path: KeyPath) -> Span | None:
        """Return the span of the value, or of the closest enclosing one that has a span."""
        return self._closest(path, "value")

    def within(self, path: KeyPath, start: int, length: int) -> Span | None:
        """Return the span of ``length`` characters from ``start`` inside a string value.

        Falls back to the whole value where the text does not stand there letter by letter (escapes).
        """
        path = path if path in self.places else path[:-1]
        span = self.value(path)
        if span is None:
            return None
        raw = span.text[span.column - 1 : span.column - 1 + span.length]
        if len(raw) < 2 or raw[0] not in "\"'" or "\\" in raw or raw[:3] in ('"""', "'''"):
            return span
        return Span(span.file, span.line, span.column + 1 + start, max(length, 1), span.text)

    def report(
        self,
        path: KeyPath,
        code: str,
        message: str,
        *,
        help: str | None = None,  # noqa: A002 - the field's usual name in compilers
        notes: Iterable[str] = (),
    ) -> Diagnostic:
        """Return a diagnostic that points at the value written at ``path``, or at the closest table around it."""
        return diagnostic(code, message, span=self.value(path), where=dotted(path), help=help, notes=notes)

    def error(
        self,
        path: KeyPath,
        code: str,
        message: str,
        *,
        help: str | None = None,  # noqa: A002
        notes: Iterable[str] = (),
    ) -> DiagnosticError:
        """Return an error, to be raised, whose one diagnostic points at the value written at ``path``."""
        return DiagnosticError([self.report(path, code, message, help=help, notes=notes)])

    def directory_of(self, path: KeyPath) -> Path | None:
        """Return the folder that a relative path written at ``path`` starts from."""
        place = self.places.get(path)
        return place.directory if place and place.directory else self.directory

    def _closest(self, path: KeyPath, kind: str) -> Span | None:
        for end in range(len(path), 0, -1):
            place = self.places.get(path[:end])
            if place is not None:
                # A place without spans was written in no file (a mapping): nothing above it points there.
                return getattr(place, kind) or place.key or place.value
        return None


NOWHERE = Locations()


def dotted(path: KeyPath) -> str:
    """Write a key path the way people do: ``rule[1].match``, counting from 1.

    >>> dotted(("rule", 0, "match"))
    'rule[1].match'
    """
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
