"""Where the keys and values of a (merged) spec stand in its files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from freezeplan.diagnostics import (
    Diagnostic,
    DiagnosticError,
    Fix,
    KeyPart,
    KeyPath,
    Pointer,
    Span,
    capped,
    diagnostic,
    in_file_order,
)

Given = ParamSpec("Given")
Result = TypeVar("Result")
PART = re.compile(r"""[A-Za-z0-9_-]++ | "(?:[^"\\\n]++|\\.)*+" | '[^'\n]*+'""", re.VERBOSE)


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
        """Return the span of the key, or of the closest enclosing one that has a span: at last, of the file."""
        return self._closest(path, "key")

    def value(self, path: KeyPath) -> Span | None:
        """Return the span of the value, or of the closest enclosing one that has a span: at last, of the file."""
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

    def attach(self, items: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
        """Return diagnostics with the places of what they point at, in file order and without floods."""
        return capped(in_file_order(self._placed(item) for item in items))

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Give the diagnostics that are raised inside their places."""
        try:
            yield
        except DiagnosticError as error:
            if not any(item.pointer for item in error.diagnostics):
                raise
            raise DiagnosticError(self.attach(error.diagnostics)) from error.__cause__

    def report(self, path: KeyPath, code: str, message: str, **more: Any) -> Diagnostic:
        """Return what :func:`at_key` does, with its place."""
        return self._placed(at_key(path, code, message, **more))

    def error(self, path: KeyPath, code: str, message: str, **more: Any) -> DiagnosticError:
        """Return an error, to be raised, whose one diagnostic is that of :meth:`report`."""
        return DiagnosticError([self.report(path, code, message, **more)])

    def directory_of(self, path: KeyPath) -> Path | None:
        """Return the folder that a relative path written at ``path`` starts from."""
        place = self.places.get(path)
        return place.directory if place and place.directory else self.directory

    def _placed(self, item: Diagnostic) -> Diagnostic:
        return replace(item, span=self._span(item.pointer), pointer=None) if item.pointer else item

    def _span(self, pointer: Pointer) -> Span | None:
        if pointer.within is not None:
            return self.within(pointer.path, *pointer.within)
        if pointer.part is KeyPart.VALUE:
            return self.value(pointer.path)
        span = self.key(pointer.path)
        return _last_part(span) if span and pointer.part is KeyPart.KEY else span

    def _closest(self, path: KeyPath, kind: str) -> Span | None:
        for end in range(len(path), -1, -1):
            place = self.places.get(path[:end])
            if place is not None:
                # A place without spans was written in no file (a mapping): nothing above it points there.
                return getattr(place, kind) or place.key or place.value
        return None


NOWHERE = Locations()


class Located(Protocol):
    """Something that knows where its keys stand: a spec."""

    @property
    def locations(self) -> Locations: ...


def attaching(
    call: Callable[Concatenate[Located, Given], Result],
) -> Callable[Concatenate[Any, Given], Result]:
    """Give what a function raises its places, from the spec that is its first argument."""

    @wraps(call)
    def placed(spec: Located, *args: Given.args, **kwargs: Given.kwargs) -> Result:
        with spec.locations.attached():
            return call(spec, *args, **kwargs)

    return placed


def at_key(
    path: KeyPath,
    code: str,
    message: str,
    *,
    help: str | None = None,  # noqa: A002 - the field's usual name in compilers
    notes: Iterable[str] = (),
    part: KeyPart = KeyPart.VALUE,
    within: tuple[int, int] | None = None,
    fix: Fix | None = None,
) -> Diagnostic:
    """Return a diagnostic that points at a key of the spec, or at the closest table around it that is written.

    The one way to point at a key. Whoever holds the spec attaches its file, line and column
    (:meth:`Locations.attach`); what is raised is attached by :meth:`Locations.attached`. ``part`` says what of
    the key is meant, ``within`` the first character and the length of a part of its
    string; ``fix`` what is certain to be meant there.
    """
    pointer, where = Pointer(path, part, within), dotted(path) or None
    return diagnostic(code, message, where=where, help=help, notes=notes, pointer=pointer, fix=fix)


def error_at_key(path: KeyPath, code: str, message: str, **more: Any) -> DiagnosticError:
    """Return an error, to be raised, whose one diagnostic is that of :func:`at_key`."""
    return DiagnosticError([at_key(path, code, message, **more)])


def _last_part(span: Span) -> Span:
    """Return the span of a table's own name inside its header."""
    raw = span.text[span.column - 1 : span.column - 1 + span.length]
    if not raw.startswith("["):
        return span
    *_, last = PART.finditer(raw)
    return replace(span, column=span.column + last.start(), length=len(last.group()))


def dotted(path: KeyPath) -> str:
    """Write a key path the way people do: ``rule[1].match``, counting from 1.

    >>> dotted(("rule", 0, "match"))
    'rule[1].match'
    """
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
