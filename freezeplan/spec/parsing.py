"""Turn the text of one file into a tree with places; broken TOML becomes a diagnostic."""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress

from freezeplan.diagnostics import Diagnostic, DiagnosticError, Span, diagnostic
from freezeplan.spec.lexical import MAX_DEPTH, Excess, find_excess
from freezeplan.spec.locations import Place
from freezeplan.spec.locator import NotLocated, Offsets, Scan, locate
from freezeplan.spec.sources import SourceText
from freezeplan.spec.toml_advice import advice_on
from freezeplan.spec.tree import SpecNode, grow

POSITION = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)\Z")
REPEATED = re.compile(r"Cannot (overwrite|declare|redefine|mutate)|Duplicate inline table key")
ARRAYS_OF_TABLES = ("rule", "task", "phase")


def parse(source: SourceText) -> SpecNode:
    """Parse a file's text into a tree in which every value knows its place.

    Raises ``DiagnosticError`` with FP005 (broken TOML), FP006 (a key twice), FP007 (nested too deep) or
    FP008 (a number too long).
    """
    excess = find_excess(source.text)
    try:
        data = tomllib.loads(source.text[: excess.start] if excess else source.text)
    except tomllib.TOMLDecodeError as error:
        cut_short = excess is not None and str(error).endswith("(at end of document)")
        raise DiagnosticError(
            [_too_much(source, excess) if cut_short else _broken(source, str(error))]
        ) from None
    if excess:
        raise DiagnosticError([_too_much(source, excess)])
    places = {path: _place(source, *spans) for path, spans in locate(source.text).items()}
    places[()] = Place(source.first, None, source.directory)
    return grow(data, places)


def _place(source: SourceText, key: Offsets | None, value: Offsets | None) -> Place:
    return Place(key and source.span(*key), value and source.span(*value), source.directory)


def _too_much(source: SourceText, excess: Excess) -> Diagnostic:
    span = source.span(excess.start, excess.end)
    if excess.what == "depth":
        return diagnostic(
            "FP007", f"tables, arrays and dotted keys are nested deeper than {MAX_DEPTH}", span=span
        )
    return diagnostic("FP008", f"a number of {excess.end - excess.start} digits is too long", span=span)


def _broken(source: SourceText, text: str) -> Diagnostic:
    position = POSITION.search(text)
    message = text[: position.start()] if position else text
    offset = _offset(source, position)
    if REPEATED.match(message):
        return _repeated(source, offset)
    at_end = not (position and position["line"])
    span = _end_of(source) if at_end else source.span(offset, offset + 1)
    return diagnostic(
        "FP005",
        _plain(message, at_end),
        span=span,
        help=advice_on(message, source.lines[span.line - 1], span.column),
    )


def _offset(source: SourceText, position: re.Match[str] | None) -> int:
    if position is None or not position["line"]:
        return len(source.text)
    line, column = int(position["line"]), int(position["column"])
    return source.start_of(line) + column - 1


def _plain(message: str, at_end: bool) -> str:
    text = f"not valid TOML: {message[:1].lower()}{message[1:]}"
    return f"{text} before the end of the file" if at_end else text


def _end_of(source: SourceText) -> Span:
    last = max((number for number, line in enumerate(source.lines, 1) if line.strip()), default=1)
    return source.span_at(last, len(source.lines[last - 1]) + 1)


def _repeated(source: SourceText, offset: int) -> Diagnostic:
    scan = Scan(source.text[:offset])
    with suppress(NotLocated):
        scan.read_document()
    start, end = scan.last or (offset, offset + 1)
    name = source.text[start:end]
    first = scan.earlier and (scan.earlier[0] or scan.earlier[1])
    notes = [f"`{name}` was first written on line {source.span(*first).line}"] if first else []
    return diagnostic(
        "FP006",
        f"`{name}` is written twice",
        span=source.span(start, end),
        help=f"write `[[{name}]]`, with two brackets, above each"
        if name in ARRAYS_OF_TABLES
        else "keep one of the two",
        notes=notes,
    )
