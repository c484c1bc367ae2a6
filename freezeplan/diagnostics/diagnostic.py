"""One finding about a spec, a model, data or a run, with the place it points at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from freezeplan.diagnostics.registry import entry


class Severity(StrEnum):
    """How much a diagnostic weighs: errors stop the compilation, the others do not."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


KeyPath = tuple[str | int, ...]
MOST_LINES = 100
MOST_TEXT = 2000


class KeyPart(StrEnum):
    """What of a key a diagnostic points at: its value, the key itself, or the header of its table."""

    VALUE = "value"
    KEY = "key"
    HEADER = "header"


@dataclass(frozen=True)
class Pointer:
    """Name a part of a spec before it is known where it stands.

    ``within`` are the first character and the length of what is meant inside a value that is a string.
    """

    path: KeyPath
    part: KeyPart = KeyPart.VALUE
    within: tuple[int, int] | None = None


@dataclass(frozen=True)
class Span:
    """Name a run of characters on one line of a text file.

    ``line`` and ``column`` count from 1, ``column`` and ``length`` in characters (code points).
    ``text`` is the whole source line without its line break, so that rendering reads no file.
    """

    file: str
    line: int
    column: int
    length: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Fix:
    """Say what is certain to be meant: ``text`` in place of ``was``, which is all that the diagnostic points at."""

    was: str
    text: str


@dataclass(frozen=True)
class Diagnostic:
    """Hold one finding: what is wrong or doubtful, where, and what to do about it.

    ``code`` (such as ``FP201``) is what ``freezeplan explain`` takes; ``severity`` is error, warning or note;
    ``help`` is a suggestion, ``notes`` are facts beside it. ``span`` is the place in a file (line and column),
    ``where`` is a key path such as ``rule[1].match`` for specs that have no file. ``pointer`` is that path for
    code that has no file at hand; ``Locations.attach`` turns it into a span. ``more`` counts the alike findings
    that were left out behind this one (``capped``). ``fix`` is set where only one thing can be meant.
    :func:`freezeplan.diagnostics.diagnostic` creates one.
    """

    code: str
    severity: Severity
    message: str
    span: Span | None = None
    where: str | None = None
    help: str | None = None
    notes: tuple[str, ...] = ()
    more: int = 0
    pointer: Pointer | None = field(default=None, repr=False)
    fix: Fix | None = None

    @property
    def is_error(self) -> bool:
        """Tell whether this finding stops the compilation."""
        return self.severity is Severity.ERROR

    def as_record(self) -> dict[str, Any]:
        """Return the JSON form, of a source line its first 2,000 characters.

        The printed text is rendered from the same fields.
        """
        record = asdict(self)
        del record["pointer"]
        if self.fix is None:
            del record["fix"]
        if self.span:
            record["span"]["text"] = self.span.text[:MOST_TEXT]
        return record


def diagnostic(
    code: str,
    message: str,
    *,
    span: Span | None = None,
    where: str | None = None,
    help: str | None = None,  # noqa: A002 - the field's usual name in compilers
    notes: Iterable[str] = (),
    pointer: Pointer | None = None,
    fix: Fix | None = None,
) -> Diagnostic:
    """Create a diagnostic with the severity that the registry gives its code.

    Raises ``KeyError`` for a code that the registry does not hold.

    >>> diagnostic("FP201", "pattern matches no parameter").severity.value
    'error'
    """
    severity = Severity(entry(code).severity)
    return Diagnostic(code, severity, message, span, where, help, tuple(notes), pointer=pointer, fix=fix)


class DiagnosticError(Exception):
    """Carry ``diagnostics``, at least one of them an error, out of a call that cannot go on."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        lines = [_one_line(item) for item in self.diagnostics[:MOST_LINES]]
        left = len(self.diagnostics) - len(lines)
        super().__init__("\n".join([*lines, *([f"and {left:,} more"] if left else [])]))


def _one_line(item: Diagnostic) -> str:
    place = f"{item.span}: " if item.span else f"{item.where}: " if item.where else ""
    advice = f" (help: {item.help})" if item.help else ""
    more = f" (and {item.more:,} more like it)" if item.more else ""
    return f"{place}{item.severity}[{item.code}]: {item.message}{advice}{more}"


def in_file_order(items: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Sort diagnostics by file, line and column; those without a place come last."""
    return tuple(sorted(items, key=_place))


def _place(item: Diagnostic) -> tuple[bool, str, int, int, str]:
    if item.span is None:
        return (True, item.where or "", 0, 0, item.code)
    return (False, item.span.file, item.span.line, item.span.column, item.code)
