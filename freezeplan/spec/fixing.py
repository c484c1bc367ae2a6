"""Mend the slips in the text of a spec that can mean one thing only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from freezeplan.diagnostics import Diagnostic, DiagnosticError, Fix, Span
from freezeplan.spec.parsing import ARRAYS_OF_TABLES
from freezeplan.spec.reading import load_text
from freezeplan.spec.sources import SourceText, shown

MOST_ROUNDS = 50
SEVERAL_LINES = ('"""', "'''")


@dataclass(frozen=True)
class Mended:
    """One slip that was mended: where it stood in the text as it then was, and what stands there now."""

    span: Span
    fix: Fix


def mended(text: str, path: Path) -> tuple[str, list[Mended]]:
    """Return the text of a spec without the slips that can mean one thing only, and what they were.

    A text that compiles has none, and stays as it is. ``path`` is where the spec stands, for what it extends.
    """
    found: list[Mended] = []
    for _ in range(MOST_ROUNDS):
        todo = _slips(text, path)
        if not todo:
            break
        text = _with(text, todo)
        found += todo
    return text, found


def _slips(text: str, path: Path) -> list[Mended]:
    try:
        load_text(text, path)
    except DiagnosticError as error:
        name = shown(path)
        own = [item for item in error.diagnostics if item.span is not None and item.span.file == name]
        return _apart(slip for item in own for slip in _slips_of(item, text, name))
    return []


def _slips_of(item: Diagnostic, text: str, name: str) -> Iterator[Mended]:
    span = item.span
    if span is not None and item.fix is not None:
        if span.text[span.column - 1 :][: span.length] == item.fix.was:
            yield Mended(span, item.fix)
    elif span is not None and item.code == "FP006":
        yield from _single_brackets(span, text, name)


def _single_brackets(span: Span, text: str, name: str) -> Iterator[Mended]:
    """Give two brackets to every header of an array of tables that is repeated with one."""
    table = span.text[span.column - 1 :][: span.length]
    header = re.compile(rf"\s*(\[{re.escape(table)}\])\s*(#.*)?")
    if table not in ARRAYS_OF_TABLES or any(quotes in text for quotes in SEVERAL_LINES):
        return
    if not header.fullmatch(span.text):
        return
    for number, line in enumerate(SourceText(name, text, None).lines, 1):
        if found := header.fullmatch(line):
            place = Span(name, number, found.start(1) + 1, len(found[1]), line)
            yield Mended(place, Fix(found[1], f"[{found[1]}]"))


def _apart(slips: Iterable[Mended]) -> list[Mended]:
    """Return slips in the order of the text, without those that touch one before them."""
    kept: list[Mended] = []
    for slip in sorted(slips, key=lambda slip: (slip.span.line, slip.span.column)):
        last = kept[-1].span if kept else None
        if last is None or (slip.span.line, slip.span.column) >= (last.line, last.column + last.length):
            kept.append(slip)
    return kept


def _with(text: str, slips: list[Mended]) -> str:
    lines = text.split("\n")
    for slip in reversed(slips):
        line, start = lines[slip.span.line - 1], slip.span.column - 1
        lines[slip.span.line - 1] = line[:start] + slip.fix.text + line[start + slip.span.length :]
    return "\n".join(lines)
