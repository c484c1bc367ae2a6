"""Compile every preset on every model type, and write what came out into the page of architectures.

``python -m benchmarks.atlas`` builds the base model of every type that transformers registers one for, from
its default config on the meta device, with the head of one task on it; writes the table into
``docs/architectures.md``; and prints how many presets compile, are refused (by reason) and are wrong.
``--types a,b`` prints the rows of these and writes nothing. ``--workers N`` (default 1). The status is 1 if
anything is wrong.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.atlas_page import counts_of, line_of, with_table
from benchmarks.atlas_rows import Row, row_of
from benchmarks.building import base_types, in_workers
from benchmarks.reasons import REASONS

PAGE = Path(__file__).parents[1] / "docs" / "architectures.md"


def print_rows(rows: list[Row]) -> None:
    """Print the rows as lines of the table, and why the others do not build."""
    for row in rows:
        print(line_of(row) if row.outcomes else f"{row.entry.model_type}: {row.entry.error}")


def print_counts(rows: list[Row]) -> int:
    """Print the counts, then all that is wrong; returns how much is."""
    counts, codes = counts_of(rows)
    print(", ".join(f"{word} {counts[word]}" for word in ("ok", "refused", "wrong")))
    for code, count in sorted(codes.items()):
        print(f"{code} {REASONS[code]}: {count}")
    wrong = [f"{row.entry.model_type}: {what}" for row in rows for what in row.wrong]
    print("\n".join(wrong))
    return len(wrong)


def main() -> None:
    """Read the command line, build the types, and write the page or print the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.atlas")
    parser.add_argument("--types", default="", help="model types, separated by commas: print their rows only")
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    types = [name for name in asked.types.split(",") if name] or base_types()
    rows = list(in_workers(row_of, types, asked.workers) if asked.workers > 1 else map(row_of, types))
    if asked.types:
        print_rows(rows)
    else:
        PAGE.write_text(with_table(PAGE.read_text("utf-8"), rows), "utf-8")
    sys.exit(1 if print_counts(rows) else 0)


if __name__ == "__main__":
    main()
