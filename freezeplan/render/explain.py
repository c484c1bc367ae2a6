"""What a diagnostic code means, for ``freezeplan explain``."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import indent

from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.text import Text

from freezeplan.diagnostics import Entry
from freezeplan.diagnostics.diagnostic import Severity
from freezeplan.render.diagnostics import STYLES

PARTS = ("what", "why", "example", "fix")


class EntryView:
    """Render one code's entry: its title, then What, Why, Example and Fix.

    Prose folds at the console's width; the example keeps its lines.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield headline(self.entry)
        for part in PARTS:
            yield Text("")
            yield Text(part.capitalize(), style="bold")
            body = getattr(self.entry, part).strip("\n")
            if part == "example":
                yield Text(indent(body, "  "), no_wrap=True, overflow="ignore")
            else:
                yield Padding(Text(body, overflow="fold"), (0, 0, 0, 2), expand=False)


class EntryList:
    """Render every code with its severity and title, one per line."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(entries)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for entry in self.entries:
            severity = (f"{entry.severity:<9}", STYLES[Severity(entry.severity)])
            yield Text.assemble((entry.code, "bold"), "  ", severity, entry.title, overflow="fold")


def headline(entry: Entry) -> Text:
    """Return ``error[FP201]: title``."""
    head = Text(f"{entry.severity}[{entry.code}]", style=STYLES[Severity(entry.severity)], overflow="fold")
    return head.append(f": {entry.title}", style="bold")
