"""A folder with a model's header and specs over it, and the command in it: in this process, or in one of its own."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from math import prod
from pathlib import Path
from unittest.mock import patch

from freezeplan.cli.program import run

LAYER = {"attention.query.weight": (8, 8), "attention.query.bias": (8,), "output.LayerNorm.weight": (8,)}
SHAPES = {
    "bert.embeddings.word_embeddings.weight": (50, 8),
    **{f"bert.encoder.layer.{layer}.{name}": shape for layer in range(3) for name, shape in LAYER.items()},
    "classifier.weight": (2, 8),
    "classifier.bias": (2,),
}
MODEL = '[model]\nsource = "model.safetensors"\n'
GOOD = f"""{MODEL}
[[rule]]
name = "everything"
match = "**"
state = "frozen"

[[rule]]
name = "upper"
match = "@layers[-2:]"
state = "trainable"
lr_mult = 0.5

[[rule]]
name = "top of all"
match = "classifier"
state = "trainable"
lr = 3e-4
"""
BAD = GOOD.replace('"classifier"', '"clasifier"')
FROZEN = f'{MODEL}\n[[rule]]\nmatch = "**"\nstate = "frozen"\n'


@dataclass(frozen=True)
class Outcome:
    """What a process left: exit status and the bytes of both streams."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def out(self) -> str:
        """Standard output as text."""
        return self.stdout.decode("utf-8")

    @property
    def err(self) -> str:
        """Standard error as text."""
        return self.stderr.decode("utf-8")


@dataclass(frozen=True)
class Room:
    """A working folder; :meth:`run` calls the command there, :meth:`start` and the others as a real process.

    A process of its own takes seconds to import what it needs: it is for what only a process can show.
    """

    path: Path

    def write(self, name: str, text: str | bytes) -> Path:
        """Put a file into the folder; returns its path."""
        path = self.path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def run(self, *arguments: str, stdin: bytes = b"", **environment: str) -> Outcome:
        """Run the command in this process, its streams caught as bytes."""
        given, out, err = (io.TextIOWrapper(io.BytesIO(data), "utf-8") for data in (stdin, b"", b""))
        with (
            chdir(self.path),
            patch.dict(os.environ, surroundings(environment), clear=True),
            patch.object(sys, "stdin", given),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            status = run(arguments)
            out.flush()
            err.flush()
        return Outcome(status, caught(out), caught(err))

    def start(self, *arguments: str, stdin: bytes = b"", **environment: str) -> Outcome:
        """Run the command in a process of its own, both outputs piped."""
        done = subprocess.run(
            command(*arguments),
            cwd=self.path,
            env=surroundings(environment),
            input=stdin,
            capture_output=True,
            timeout=120,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def on_terminal(self, *arguments: str, columns: int, **environment: str) -> Outcome:
        """Run the command on a terminal of ``columns``; both streams end in ``stdout``."""
        mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        process = subprocess.Popen(
            command(*arguments),
            cwd=self.path,
            env=surroundings({"TERM": "xterm-256color", **environment}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        seen = read_all(mine)
        return Outcome(process.wait(timeout=120), seen.replace(b"\r\n", b"\n"), b"")

    def in_shell(self, script: str, *arguments: str) -> Outcome:
        """Run a shell script in which ``"$@"`` is the command, for redirections; both outputs are piped."""
        done = subprocess.run(
            ["sh", "-c", script, "sh", *command(*arguments)],
            cwd=self.path,
            env=surroundings({}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def with_closed_output(self, *arguments: str) -> Outcome:
        """Run the command with a standard output that nobody reads."""
        reader, writer = os.pipe()
        os.close(reader)
        process = subprocess.Popen(
            command(*arguments),
            cwd=self.path,
            env=surroundings({}),
            stdout=writer,
            stderr=subprocess.PIPE,
        )
        os.close(writer)
        _, errors = process.communicate(timeout=120)
        return Outcome(process.returncode, b"", errors)


def caught(stream: io.TextIOWrapper) -> bytes:
    """Return the bytes that were written to a stream in memory."""
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue()


def command(*arguments: str) -> list[str]:
    """Return the command line that starts this checkout's command."""
    return [sys.executable, "-m", "freezeplan", *arguments]


def surroundings(extra: dict[str, str]) -> dict[str, str]:
    """Return this process's environment without what changes widths, colours or encodings."""
    dropped = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "PYTHONIOENCODING", "FREEZEPLAN_DEBUG"}
    kept = {key: value for key, value in os.environ.items() if key not in dropped}
    root = str(Path(__file__).parents[2])
    return {**kept, "PYTHONPATH": root, "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1", **extra}


def read_all(descriptor: int) -> bytes:
    """Read a terminal until the other side closes it."""
    seen = b""
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:
            part = b""
        if not part:
            os.close(descriptor)
            return seen
        seen += part


def header(shapes: dict[str, tuple[int, ...]]) -> bytes:
    """Return a .safetensors file of zeros with these tensors."""
    table, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * prod(shape)
        table[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)
