"""Trying the blocks of one page, in order, as a reader would."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import tomllib
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from freezeplan.cli.program import run
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.models.sources import inventory_for
from freezeplan.plan import compile_plan
from freezeplan.spec.reading import load_spec
from tests.docs.blocks import Block
from tests.docs.comparing import assert_same_text

EVERYTHING_FROZEN = {"name": "everything", "match": "**", "state": "frozen"}
HEADS_TRAIN = {"name": "the heads", "match": "heads", "state": "trainable"}
DEFAULT_RULES = [
    {"name": "everything", "match": "**", "state": "trainable"},
    {"name": "pooler", "match": "@pooler", "state": "frozen", "optional": True},
]
SUPPLIED: dict[str, Any] = {
    "model": {"source": "distilbert-base-uncased", "architecture": "distilbert"},
    "task": [
        {"name": "topic", "labels": ["billing", "delivery", "product"]},
        {"name": "sentiment", "labels": ["negative", "positive"]},
    ],
}
SHELL_WORDS = ("ls", "cat", "head", "tail", "wc")


@dataclass
class Reader:
    """Somebody who does what a page says: a namespace for its Python, an exit status for its commands.

    ``history`` holds what each command of freezeplan printed the first time, by the command.
    """

    namespace: dict[str, Any] = field(default_factory=lambda: {"__name__": "page"})
    status: int = 0
    printed: str = ""
    history: dict[str, str] = field(default_factory=dict)

    def try_block(self, block: Block) -> None:
        """Do what one block says; raises ``AssertionError`` when the page is wrong."""
        if block.is_skipped or block.lacks:
            return
        known = {
            "python": self._python,
            "text": self._output,
            "toml": self._toml,
            "console": self._console,
        }
        assert block.language in known, f"{block.place}: no block is called `{block.language}`"
        known[block.language](block)

    def _python(self, block: Block) -> None:
        out = io.StringIO()
        with redirect_stdout(out):
            exec(compile(block.text, block.place, "exec"), self.namespace)
        self.printed = out.getvalue()

    def _output(self, block: Block) -> None:
        assert block.words[:1] == ("output",), f"{block.place}: a text block is `output`, or says `norun`"
        assert_same_text(block.text, self.printed, block.place, tolerance=block.tolerance)

    def _toml(self, block: Block) -> None:
        kind = block.words[0] if block.words else ""
        file = Path(block.value("file") or "spec.toml")
        if kind == "append":
            file.write_text(file.read_text("utf-8") + "\n" + block.text, "utf-8")
        elif kind == "replace":
            file.write_text(with_rule(file.read_text("utf-8"), block.text), "utf-8")
        else:
            assert kind in ("spec", "part"), f"{block.place}: a toml block is spec, part, append or replace"
            self._compile(block, kind, file)

    def _compile(self, block: Block, kind: str, file: Path) -> None:
        if kind == "spec":
            file.write_text(block.text, "utf-8")
            found = compiled(file)
        else:
            found = compiled(completed(tomllib.loads(block.text), over="over" in block.words))
        for severity in ("error", "warning"):
            codes = {item.code for item in found if item.severity == severity}
            assert codes == block.codes(severity), f"{block.place}: {severity}s {codes or 'none'}: {found}"

    def _console(self, block: Block) -> None:
        commands = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
        assert commands[0] == "", f"{block.place}: a console block begins with a command"
        for text in commands[1:]:
            command, _, shown = text.partition("\n")
            printed = self._command(command, block.place)
            assert_same_text(shown, printed, f"{block.place}: {command}", tolerance=block.tolerance)

    def _command(self, command: str, place: str) -> str:
        if command == "echo $?":
            return f"{self.status}\n"
        words = shlex.split(command, comments=True)
        if words[0] == "freezeplan":
            self.status, printed = called(words[1:])
            self.history.setdefault(command, printed)
            return printed
        assert words[0] in SHELL_WORDS, f"{place}: `{words[0]}` is not run here"
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        self.status = done.returncode
        return done.stdout + done.stderr


def called(arguments: list[str]) -> tuple[int, str]:
    """Run the command line in this process; returns its exit status and both streams, as they came."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with redirect_stdout(stream), redirect_stderr(stream):
        status = run(arguments)
    return status, stream.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]


def compiled(spec: Path | dict[str, Any]) -> tuple[Diagnostic, ...]:
    """Compile a spec; returns all diagnostics, whether or not it is a plan."""
    try:
        read = load_spec(spec)
        return compile_plan(inventory_for(read), read).diagnostics
    except DiagnosticError as error:
        return error.diagnostics


def completed(part: dict[str, Any], *, over: bool) -> dict[str, Any]:
    """Return a part of a spec with what it lacks: a model, tasks, rules; ``over`` starts from all frozen."""
    whole = dict(part)
    for key, value in SUPPLIED.items():
        if key != "task" or "class" not in whole.get("model", {}):
            whole.setdefault(key, value)
    rules = list(whole.get("rule", ()))
    if over:
        trained = [] if "heads" in str(rules) else [HEADS_TRAIN]
        return {**whole, "rule": [EVERYTHING_FROZEN, *rules, *trained]}
    return whole if rules or "extends" in whole else {**whole, "rule": DEFAULT_RULES}


def with_rule(text: str, rule: str) -> str:
    """Return a spec's text in which ``rule`` has taken the place of the rule of the same name."""
    name = tomllib.loads(rule)["rule"][0]["name"]
    parts = re.split(r"^(?=\[)", text, flags=re.MULTILINE)
    same = [part.startswith("[[rule]]") and f'\nname = "{name}"\n' in part for part in parts]
    assert sum(same) == 1, f"no rule `{name}` to replace"
    return "".join(rule + "\n" if hit else part for part, hit in zip(parts, same, strict=True))
