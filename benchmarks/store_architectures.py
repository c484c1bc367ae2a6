"""Print which architectures train from the frozen-prefix store, and what the others are refused for.

``python -m benchmarks.store_architectures [TYPE ...]`` builds a tiny random model of each architecture,
freezes half of its layers and then its whole backbone, trains two tasks for two epochs with and without the store
from the same state, and compares every loss, every gradient and the final weights.
"""

from __future__ import annotations

import sys

import transformers

from freezeplan.outside.quiet import quiet
from tests.prefix.architectures import ARCHITECTURES
from tests.prefix.running import Outcome, outcome

ROW = "{:14}{:26}{:16}{:16}{}"


def verdict(found: Outcome) -> str:
    """Return how far apart the two trainings ended."""
    if found.refusal is not None:
        return ""
    return "bit-equal" if found.equal else f"apart by {found.distance:.0e}"


def main(asked: list[str]) -> None:
    """Print a row per architecture, and how many run, how many of them bit-equal."""
    transformers.logging.set_verbosity_error()
    rows = [row for row in ARCHITECTURES if not asked or row.model_type in asked]
    ran = equal = 0
    print(ROW.format("", "half of the layers frozen", "", "all of them", "why not"))
    for row in rows:
        with quiet():
            half, whole = outcome(row, 0.5), outcome(row, 1.0)
        ran, equal = ran + (half.refusal is None), equal + half.equal
        words = half.statement if half.refusal is None else "no store"
        why = [str(found.refusal) for found in (half, whole) if found.refusal is not None]
        print(ROW.format(row.label, words, verdict(half), verdict(whole) or "no store", "; ".join(why)))
    print(
        f"{len(rows)} architectures: {ran} run half frozen, {equal} bit-equal; {len(rows) - ran} are refused"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
