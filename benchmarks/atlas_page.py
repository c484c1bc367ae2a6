"""The table of architectures in the documentation: written from rows, and read back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from benchmarks.atlas_rows import Row
from benchmarks.reasons import REASONS

BEGIN = "<!-- table: written by python -m benchmarks.atlas -->"
END = "<!-- end of the table -->"
NO_LIBRARY = "Not built, for want of a library"
NO_CONFIG = "Not built from the default config alone"
VERSION = re.compile(r"^transformers (\S+), ", re.MULTILINE)
LINE = re.compile(r"^\| `([\w.-]+)` \| .*$", re.MULTILINE)
HEADER = (
    "| type | base model | stacks (layers) | evidence | presets refused |",
    "|---|---|---|---|---|",
)


def installed() -> str:
    """Return the version of transformers that is installed."""
    return version("transformers")


def version_in(page: str) -> str:
    """Return the version of transformers that the table of a page was made with."""
    found = VERSION.search(_between(page))
    assert found, "the page names no version of transformers"
    return found[1]


def lines_in(page: str) -> dict[str, str]:
    """Return the lines of the table of a page by model type."""
    return {found[1]: found[0] for found in LINE.finditer(_between(page))}


def unbuilt_in(page: str) -> dict[str, str]:
    """Return the types that a page names below its table, those that do not build, with its words on why."""
    below = [line for line in _between(page).splitlines() if line.startswith((NO_LIBRARY, NO_CONFIG))]
    return {name: line.partition(":")[0] for line in below for name in re.findall(r"`([\w.-]+)`", line)}


def with_table(page: str, rows: Sequence[Row]) -> str:
    """Return a page with the rows between its markers, sorted by type, and all else as it was."""
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    built = sorted((row for row in rows if row.outcomes), key=lambda row: row.entry.model_type)
    body = [*_summary(rows), "", *HEADER, *(line_of(row) for row in built), "", *_unbuilt(rows)]
    return "\n".join([f"{before}{BEGIN}", "", *body, "", f"{END}{after}"])


def line_of(row: Row) -> str:
    """Return one row as a line of the table."""
    entry = row.entry
    stacks = ", ".join(re.sub(r"^(\S+)", r"`\1`", text) for text in entry.stacks)
    evidence = "; ".join(
        [entry.backing, *["in doubt"] * bool(entry.doubts), *["shared layers"] * bool(entry.shared)]
    )
    cells = (f"`{entry.model_type}`", f"`{entry.class_name}`", stacks or "none", evidence, _refused(row))
    return f"| {' | '.join(cells)} |"


def _refused(row: Row) -> str:
    by_code: dict[str, list[str]] = {}
    for name, outcome in row.outcomes.items():
        if outcome.verdict != "ok":
            by_code.setdefault(outcome.cell, []).append(name)
    return "; ".join(f"{', '.join(names)}: {code}" for code, names in by_code.items()) or "none"


def counts_of(rows: Iterable[Row]) -> tuple[Counter[str], Counter[str]]:
    """Return how many presets came out ``ok``, ``refused`` and ``wrong``, and the refusals by code."""
    outcomes = [outcome for row in rows for outcome in row.outcomes.values()]
    refusals = [outcome for outcome in outcomes if outcome.verdict == "refused"]
    return Counter(outcome.verdict for outcome in outcomes), Counter(
        code for outcome in refusals for code in outcome.codes
    )


def _summary(rows: Sequence[Row]) -> list[str]:
    built = [row for row in rows if row.outcomes]
    counts, codes = counts_of(rows)
    doubts = sum(bool(row.entry.doubts) for row in built)
    return [
        f"transformers {installed()}, {len(rows)} types with a base model: {len(built)} build from their default "
        f"config, {doubts} of them are in doubt.",
        f"{len(next(iter(built)).outcomes)} presets on {len(built)} types: {counts['ok']:,} compile, "
        f"{counts['refused']:,} are refused, {counts['wrong']} are wrong.",
        "",
        "| code | reason | refusals |",
        "|---|---|---|",
        *(
            f"| {code} | {REASONS.get(code, 'not a reason')} | {count} |"
            for code, count in sorted(codes.items())
        ),
    ]


def _unbuilt(rows: Sequence[Row]) -> list[str]:
    missing = [row for row in rows if not row.outcomes]
    return [
        f"{words}: {', '.join(sorted(f'`{row.entry.model_type}`' for row in group))}."
        for words, group in (
            (NO_LIBRARY, [row for row in missing if row.needs_library]),
            (NO_CONFIG, [row for row in missing if not row.needs_library]),
        )
        if group
    ]


def _between(page: str) -> str:
    assert BEGIN in page and END in page, "the page has no place for the table"
    return page.partition(BEGIN)[2].partition(END)[0]
