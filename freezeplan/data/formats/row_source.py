"""What every reader of a format takes and gives, and how it says that it cannot go on."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, TextIO

from freezeplan.diagnostics.wording import quoted

LONGEST_LINE = 1 << 26
CHUNK = 1 << 20
Row = tuple[int, Sequence[Any]]


class Unreadable(Exception):
    """Say why rows cannot be read: a diagnostic's code, message and help, still without its place."""

    def __init__(self, code: str, message: str, help: str | None = None) -> None:  # noqa: A002
        super().__init__(message)
        self.code, self.message, self.help = code, message, help


@dataclass(frozen=True)
class RowSource:
    """Name one file to read: how to open it, its name in messages, and the columns wanted.

    ``names`` are the wanted columns, each once; a reader puts the columns that are there into ``present``, in
    their order.
    """

    open: Callable[[], BinaryIO]
    name: str
    names: Sequence[str]
    present: dict[str, None]

    def broken(self, reason: str, advice: str) -> Unreadable:
        """Return the error for a file whose content is not what its format says."""
        return Unreadable("FP455", f"`{self.name}` cannot be read: {reason}", advice)

    def too_long(self, line: int) -> Unreadable:
        """Return the error for a line, or one row, that is longer than any that are read."""
        return self.broken(
            f"line {line} is longer than {LONGEST_LINE:,} characters", "write one row per line"
        )

    def check_single(self, present: Sequence[str]) -> None:
        """Refuse a table in which a wanted column's name stands more than once."""
        repeated = [name for name in self.names if present.count(name) > 1]
        if repeated:
            raise self.broken(f"it has more than one column {quoted(repeated)}", "rename the columns")

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open the file; what goes wrong while it is read (a damaged ``.gz``, a disk) is :class:`Unreadable`."""
        try:
            with self.open() as file:
                yield file
        except (gzip.BadGzipFile, EOFError, zlib.error):
            raise self.broken("it is no whole gzip file", "write the file again") from None
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise self.broken(reason, "check that the file can be read") from None

    @contextmanager
    def text(self) -> Iterator[TextIO]:
        """Open the file as UTF-8 without its byte order mark, line ends as they are."""
        try:
            with self.opened() as file:
                yield io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        except UnicodeDecodeError:
            raise self.broken(self._not_utf8(), "save the file as UTF-8") from None

    def _not_utf8(self) -> str:
        decoder, line, column = codecs.getincrementaldecoder("utf-8")(), 1, 0
        with self.opened() as file:
            while True:
                data = file.readline(CHUNK)
                try:
                    decoder.decode(data, final=not data)
                except UnicodeDecodeError as error:
                    byte = column - (len(error.object) - len(data)) + error.start + 1
                    return f"line {line} is not UTF-8 text (byte {byte} of the line)"
                if not data:
                    return "it is not UTF-8 text"
                line, column = (line + 1, 0) if data.endswith(b"\n") else (line, column + len(data))
