"""Standard output and error: width, colour, encoding, and readers that go away."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import click

from freezeplan.cli.status import UNUSABLE

if TYPE_CHECKING:
    from rich.console import Console

    from freezeplan.diagnostics import Diagnostic

_without_reader: set[int] = set()
# Wider than any line: what is not read on a terminal is never folded.
UNBOUNDED = 100_000


@dataclass
class Settings:
    """What the options that every command shares decided, and the signal that asked to stop (0: none did)."""

    no_color: bool = False
    diagnostics: str = "full"
    stopped_by: int = 0
    verbose: bool = False

    def raise_if_interrupted(self) -> None:
        """Raise the ``KeyboardInterrupt`` that a library kept for itself."""
        if self.stopped_by:
            raise KeyboardInterrupt


class OutputError(click.ClickException):
    """Say that a standard stream takes nothing more, because of a full disk for instance."""

    exit_code = UNUSABLE


def unwritable(stream: TextIO, error: OSError) -> OutputError:
    """Return what to say of a standard stream that failed."""
    name = "error" if stream is sys.stderr else "output"
    return OutputError(f"cannot write to standard {name}: {(error.strerror or str(error)).lower()}")


class PatientStream:
    """Write to a stream until its reader goes away, and to nowhere from then on, silently.

    Raises :class:`OutputError` when the stream fails for another reason.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text; returns its length."""
        with self._failures():
            self._stream.write(text)
        return len(text)

    def write_bytes(self, data: bytes) -> None:
        """Write bytes past the stream's encoding."""
        self.flush()
        with self._failures():
            self._stream.buffer.write(data)
            self._stream.buffer.flush()

    def flush(self) -> None:
        """Pass on what is written so far."""
        with self._failures():
            self._stream.flush()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            _without_reader.add(id(self._stream))
            set_stream_to_nowhere(self._stream)
        except OSError as error:
            set_stream_to_nowhere(self._stream)
            raise unwritable(self._stream, error) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def nobody_reads() -> bool:
    """Tell whether the reader of standard output has gone: nothing that is written any more is seen."""
    return id(sys.stdout) in _without_reader


def set_streams_to_never_fail() -> None:
    """Write characters that the streams' encoding lacks as escapes, and nowhere where a stream is closed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - lasts to the end
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - lasts to the end
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def console_for(stream: TextIO, settings: Settings) -> Console:
    """Return a console that prints brackets as they are, and folds nothing unless on a terminal."""
    from rich.console import Console

    plain = settings.no_color or bool(os.environ.get("NO_COLOR"))
    return Console(
        file=PatientStream(stream),
        width=None if stream.isatty() else UNBOUNDED,
        color_system=None if plain else "auto",
        markup=False,
        emoji=False,
        highlight=False,
    )


def print_out(renderable: Any, settings: Settings) -> None:
    """Print a renderable on standard output."""
    _print(renderable, sys.stdout, settings)


def print_err(renderable: Any, settings: Settings) -> None:
    """Print a renderable on standard error."""
    _print(renderable, sys.stderr, settings)


def print_json(text: str) -> None:
    """Write a JSON text to standard output as UTF-8, whatever the terminal's encoding."""
    data = text.rstrip("\n") + "\n"
    if hasattr(sys.stdout, "buffer"):
        PatientStream(sys.stdout).write_bytes(data.encode("utf-8"))
    else:
        sys.stdout.write(data)


def report(items: Iterable[Diagnostic], settings: Settings, *, summary: bool = True) -> None:
    """Print diagnostics on standard error in the format that was asked for; none print nothing.

    ``summary`` ends the full format with the number of each severity.
    """
    from freezeplan.render.diagnostics import DiagnosticsView, diagnostics_json

    items = tuple(items)
    if items and settings.diagnostics == "json":
        _write(diagnostics_json(items) + "\n", sys.stderr)
    elif items:
        print_err(DiagnosticsView(items, summary=summary), settings)


def report_below(items: Iterable[Diagnostic], settings: Settings) -> None:
    """Print diagnostics like :func:`report`, on a terminal set apart from what stands above them."""
    items = tuple(items)
    if items and settings.diagnostics == "full" and sys.stderr.isatty():
        print_err("", settings)
    report(items, settings)


def set_stream_to_nowhere(stream: TextIO) -> None:
    """Drop what is still written to a stream whose reader has gone, silently, also at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _print(renderable: Any, stream: TextIO, settings: Settings) -> None:
    console = console_for(stream, settings)
    with console.capture() as capture:
        console.print(renderable, crop=False)
    text = capture.get()
    if console.color_system is None:
        text = "".join(f"{line.rstrip(' ')}\n" for line in text.removesuffix("\n").split("\n"))
    _write(text, stream)


def _write(text: str, stream: TextIO) -> None:
    patient = PatientStream(stream)
    patient.write(text)
    patient.flush()
