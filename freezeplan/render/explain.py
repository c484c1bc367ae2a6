"""What a diagnostic code means, for ``freezeplan explain``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import indent

from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from freezeplan.diagnostics import Entry
from freezeplan.diagnostics.diagnostic import Severity
from freezeplan.render.diagnostics import STYLES

PARTS = ("what", "why", "example", "fix")
INDENT = 2


class EntryView:
    """Render one code's entry: its title, then What, Why, Example and Fix.

    Prose folds at the console's width, the title with an indent; the example keeps its lines.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from _title(headline(self.entry), console, options)
        for part in PARTS:
            yield Text("")
            yield Text(part.capitalize(), style="bold")
            body = getattr(self.entry, part).strip("\n")
            if part == "example":
                yield Text(indent(body, "  "), no_wrap=True, overflow="ignore")
            else:
                yield Padding(Text(body, overflow="fold"), (0, 0, 0, 2), expand=False)


class EntryList:
    """Render every code with its severity and title, one per line; titles fold in their own column."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(entries)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        grid = Table.grid(padding=(0, INDENT, 0, 0))
        for kept in (True, True, False):
            grid.add_column(no_wrap=kept, overflow="fold")
        for entry in self.entries:
            severity = Text(entry.severity, style=STYLES[Severity(entry.severity)])
            grid.add_row(Text(entry.code, style="bold"), severity, Text(entry.title))
        yield grid


def headline(entry: Entry) -> Text:
    """Return ``error[FP201]: title``."""
    head = Text(f"{entry.severity}[{entry.code}]", style=STYLES[Severity(entry.severity)], overflow="fold")
    return head.append(f": {entry.title}", style="bold")


def _title(line: Text, console: Console, options: ConsoleOptions) -> Iterator[Text]:
    """Yield a title as it is where it fits, else folded with an indent."""
    if line.cell_len <= options.max_width:
        yield line
        return
    first, *more = line.wrap(console, max(options.max_width - INDENT, 1), overflow="fold")
    yield first
    yield from (Text(" " * INDENT).append_text(item) for item in more)
