"""Diagnostics for people, with the source line and a caret, and for tools, as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from freezeplan.diagnostics import Diagnostic, Severity, Span, capped, in_file_order
from freezeplan.diagnostics.wording import counted, format_count
from freezeplan.render.visible import visible

STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold cyan"}
GUTTER = "blue"
LEAST_WINDOW = 20


class DiagnosticsView:
    """Render diagnostics in file order, a blank line between them, then the count.

    The layout is that of rustc: ``severity[CODE]: message``, ``--> file:line:column``, the source
    line, carets under the span, then help and notes. Source lines wider than the console are shown
    through a window around the span, so that the carets stay under it.
    """

    def __init__(self, items: Iterable[Diagnostic], *, summary: bool = True) -> None:
        self.items = capped(in_file_order(items))
        self.summary = summary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for index, item in enumerate(self.items):
            if index:
                yield Text("")
            yield render_diagnostic(item, options.max_width)
        if self.summary and self.items:
            yield Text("")
            yield Text(summary_line(self.items), style="bold")


def render_diagnostic(item: Diagnostic, width: int = 10_000) -> Group:
    """Return one diagnostic as a renderable whose source line fits ``width`` cells."""
    margin = len(str(item.span.line)) if item.span else 1
    parts: list[Any] = [_headline(item)]
    if item.span:
        parts.append(_arrow(margin, str(item.span)))
        parts += _source(item.span, margin, width, STYLES[item.severity]) if item.span.text else []
    elif item.where:
        parts.append(_arrow(margin, item.where))
    advice = [("help", item.help)] if item.help else []
    remarks = advice + [("note", note) for note in item.notes]
    remarks += [("note", f"and {format_count(item.more)} more like it")] if item.more else []
    return Group(*parts, *(_remark(margin, label, text) for label, text in remarks))


def summary_line(items: Iterable[Diagnostic]) -> str:
    """Count diagnostics by severity: ``1 error, 2 warnings``; severities without any are left out."""
    count = _counts(items)
    return ", ".join(counted(count[severity], str(severity)) for severity in Severity if count[severity])


def diagnostics_record(items: Iterable[Diagnostic]) -> dict[str, Any]:
    """Return diagnostics in file order as one JSON-ready record, with the number of each severity.

    Of alike ones the first twenty are in it (the last says in ``more`` how many follow); the numbers count all.
    """
    items = capped(in_file_order(items))
    count = _counts(items)
    return {
        "diagnostics": [item.as_record() for item in items],
        "errors": count[Severity.ERROR],
        "warnings": count[Severity.WARNING],
        "notes": count[Severity.NOTE],
        "left_out": sum(item.more for item in items),
    }


def _counts(items: Iterable[Diagnostic]) -> Counter[Severity]:
    count: Counter[Severity] = Counter()
    for item in items:
        count[item.severity] += 1 + item.more
    return count


def diagnostics_json(items: Iterable[Diagnostic]) -> str:
    """Return :func:`diagnostics_record` as JSON text in ASCII, keys in a fixed order."""
    return json.dumps(diagnostics_record(items), indent=2)


def _headline(item: Diagnostic) -> Text:
    head = Text(f"{item.severity}[{item.code}]", style=STYLES[item.severity], overflow="fold")
    return head.append(": ", style="bold").append(visible(item.message), style="bold")


def _arrow(margin: int, place: str) -> Text:
    return Text.assemble((" " * margin + "--> ", GUTTER), visible(place, keep=""), overflow="fold")


def _source(span: Span, margin: int, width: int, style: str) -> Sequence[Text]:
    before, marked, after = _cut(_near(span, width))
    start, carets = cell_len(before), max(1, cell_len(before + marked) - cell_len(before))
    line = Text(before + marked + after, no_wrap=True, overflow="ignore", end="")
    line, start, carets = _window(line, start, carets, max(width - margin - 3, LEAST_WINDOW))
    gutter = " " * margin + " |"
    number = Text(f"{span.line:>{margin}} | ", style=GUTTER, no_wrap=True, overflow="ignore")
    pointer = Text.assemble((f"{gutter} ", GUTTER), " " * start, ("^" * carets, style))
    pointer.no_wrap, pointer.overflow = True, "ignore"
    return [Text(gutter, style=GUTTER), Text.assemble(number, line, no_wrap=True, overflow="ignore"), pointer]


def _near(span: Span, width: int) -> Span:
    """Leave out of a very long line what is far from the span, so that not all of it is measured."""
    start = max(0, span.column - 1 - 2 * width)
    length = min(span.length, 2 * width)
    text = span.text[start : span.column - 1 + length + 2 * width]
    return replace(span, column=span.column - start, length=length, text=text)


def _cut(span: Span) -> tuple[str, str, str]:
    start, end = span.column - 1, span.column - 1 + max(span.length, 1)
    parts = span.text[:start], span.text[start:end], span.text[end:]
    before, marked, after = (visible(part, keep="") for part in parts)
    return before, marked, after.rstrip()


def _window(line: Text, start: int, carets: int, room: int) -> tuple[Text, int, int]:
    if cell_len(line.plain) <= room:
        return line, start, carets
    left = max(0, min(start - room // 4, cell_len(line.plain) - room))
    head, tail = ("..." if left else ""), "..."
    shown = _cells(line.plain, left + len(head), left + room)
    if left + room < cell_len(line.plain):
        shown = _cells(shown, 0, cell_len(shown) - len(tail)) + tail
    first = start - left
    return Text(head + shown), first, max(1, min(carets, room - first))


def _cells(text: str, start: int, end: int) -> str:
    """Cut ``text`` to the cells from ``start`` to ``end``; halves of wide characters become spaces."""
    column, out = 0, []
    for char in text:
        size = cell_len(char)
        if start <= column and column + size <= end:
            out.append(char)
        else:
            out.append(" " * max(0, min(column + size, end) - max(column, start)))
        column += size
    return "".join(out)


def _remark(margin: int, label: str, text: str) -> Table:
    grid = Table.grid(padding=0)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    lead = Text.assemble((" " * margin + " = ", GUTTER), (f"{label}: ", "bold"))
    grid.add_row(lead, Text(visible(text)))
    return grid


def internal_error(error: BaseException, *, version: str, debug: str) -> Group:
    """Say, in the shape of a diagnostic, that the program is at fault; ``debug`` shows the traceback."""
    head = Text.assemble(("internal error", STYLES[Severity.ERROR]), overflow="fold")
    head.append(f": {type(error).__name__}: {visible(str(error))}".rstrip(": "), style="bold")
    remarks = (
        ("note", f"this is a fault of freezeplan {version}, not of your spec"),
        ("help", f"run it again with {debug} and report the traceback that it shows, with the spec"),
    )
    return Group(head, *(_remark(1, label, text) for label, text in remarks))
