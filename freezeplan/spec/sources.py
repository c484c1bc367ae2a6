"""Read the text of a spec file, or say exactly why it cannot be read."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

from freezeplan.diagnostics import Diagnostic, Span, diagnostic
from freezeplan.diagnostics.wording import first_line, nearest, printable, some
from freezeplan.outside.regular import open_regular

MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class SourceText:
    """Hold a file's text under the name that diagnostics show, and the folder its paths start from.

    Lines of a file that is not ``quoted`` are never shown.
    """

    name: str
    text: str
    directory: Path | None
    quoted: bool = True

    @cached_property
    def lines(self) -> list[str]:
        """The lines without their line breaks."""
        return [line.removesuffix("\r") for line in self.text.split("\n")]

    @cached_property
    def _starts(self) -> list[int]:
        lengths = (len(line) + 1 for line in self.text.split("\n"))
        return list(accumulate(lengths, initial=0))[:-1]

    def span(self, start: int, end: int) -> Span:
        """Return the span of offsets ``start`` to ``end``, cut at the end of its first line."""
        index = bisect_right(self._starts, start) - 1
        column = start - self._starts[index]
        line = self.lines[index]
        length = min(end - start, len(line) - column)
        return Span(self.name, index + 1, column + 1, max(length, 1), line if self.quoted else "")

    @property
    def first(self) -> Span:
        """The span of the first line that says something, else of the first line."""
        said = (number for number, line in enumerate(self.lines) if line.strip() and line.strip()[0] != "#")
        start = self._starts[next(said, 0)]
        return self.span(start, start + len(self.text))

    def start_of(self, line: int) -> int:
        """Return the offset at which a line, counted from 1, begins."""
        return self._starts[line - 1]

    def span_at(self, line: int, column: int) -> Span:
        """Return the one-character span at a line and a column, both counted from 1."""
        return Span(self.name, line, column, 1, self.lines[line - 1] if self.quoted else "")


@dataclass(eq=False)
class UnreadableSpec(Exception):
    """Carry why a file cannot be read: a code, a message and advice, still without a place."""

    code: str
    message: str
    help: str | None = None
    span: Span | None = None

    def as_diagnostic(self) -> Diagnostic:
        """Return the diagnostic for a file that was named outside any spec."""
        return diagnostic(self.code, self.message, span=self.span, help=self.help)


def shown(path: Path | str) -> str:
    """Write a path so that it can always be printed, on one line."""
    return printable(os.path.normpath(str(path)).encode("utf-8", "replace").decode("utf-8"))


def read_file(path: Path) -> SourceText:
    """Read a spec file of at most 1 MiB of UTF-8 text; a byte order mark is skipped.

    Raises :class:`UnreadableSpec` with FP001 (no such file), FP002 (cannot be opened), FP003 (too large) or
    FP004 (not UTF-8).
    """
    name = shown(path)
    return _as_text(_read_bytes(path, name), name, path.parent)


def read_text(stream: BinaryIO) -> SourceText:
    """Read a spec from a stream as :func:`read_file` does; raises the same."""
    return _as_text(stream.read(MAX_BYTES + 1), "standard input", None)


def _as_text(data: bytes, name: str, directory: Path | None) -> SourceText:
    if len(data) > MAX_BYTES:
        raise UnreadableSpec(
            "FP003", f"`{name}` is larger than 1 MiB", "a spec is a short text: is this the right file?"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(name, data, error.start) from None
    return SourceText(name, text.removeprefix("\ufeff"), directory)


def _read_bytes(path: Path, name: str) -> bytes:
    try:
        if os.path.isdir(path):
            message = f"`{name}` is a folder, not a spec file"
            raise UnreadableSpec("FP002", message, _listed(_toml_files(path), "name one of the files in it"))
        with open_regular(path) as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UnreadableSpec("FP001", f"there is no file `{name}`", _files_near(path)) from None
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise UnreadableSpec(
            "FP002", f"cannot read `{name}`: {reason.lower()}", "check the path and its permissions"
        ) from None


def _files_near(path: Path) -> str:
    names = _toml_files(path.parent)
    if close := nearest(path.name, names):
        return f"did you mean `{shown(path.parent / close[0])}`?"
    return _listed(names, "spec files there") or "check the path; it is taken from the folder you are in"


def _toml_files(folder: Path) -> list[str]:
    try:
        return sorted(shown(item.name) for item in folder.iterdir() if item.suffix == ".toml")
    except (OSError, ValueError):
        return []


def _listed(names: Sequence[str], lead: str) -> str | None:
    return f"{lead}: {some(names, 8)}" if names else None


def _not_utf8(name: str, data: bytes, start: int) -> UnreadableSpec:
    before = data[:start]
    line = before.count(b"\n") + 1
    column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8")) + 1
    text = data.split(b"\n")[line - 1].decode("utf-8", "replace").removesuffix("\r")
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    advice = "the file is UTF-16: save it as UTF-8" if wide else "save the file as UTF-8"
    message = f"byte {start + 1} of `{name}` (0x{data[start]:02x}) is not UTF-8 text"
    return UnreadableSpec("FP004", message, advice, Span(name, line, column, 1, text))
