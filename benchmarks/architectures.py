"""Measure structure discovery: against a reference of architectures, or by laws over every type.

``python -m benchmarks.architectures FILE`` rebuilds the class of each plain row and prints shares and
every miss; ``python -m benchmarks.architectures --all-types`` builds every type of transformers from its
default config and checks the laws. ``--workers N`` (default 2), ``--types a,b`` for some types only.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

from benchmarks.building import every_class, in_workers
from benchmarks.every_type import describe, print_entries
from benchmarks.reference_rows import Verdict, compare

QUESTIONS = {
    "stacks": "every main stack found",
    "exact": "exactly the right set",
    "heads": "heads right",
    "pooler": "every pooler found",
    "recall": "all embeddings found",
    "precision": "no embeddings elsewhere",
}
# Strict: as the reference lists them. It names tensors by the size of an input, so norms, biases and tokens
# are never right by it; the last line takes those in and beside its embeddings for right.
RATIOS = (
    ("recall by tensors", "tensors", 0),
    ("recall by elements", "numel", 0),
    ("precision by tensors, strict", "tensors", 1),
    ("precision by elements, strict", "numel", 1),
    ("precision by matrices, strict", "matrices", 1),
    ("precision with what stands around", "near", 1),
)


def reference_rows(path: Path, types: Iterable[str]) -> list[dict]:
    """Return the rows of models built from their default config alone."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [row for row in rows if row["mode"] == "plain" and (not types or row["model_type"] in types)]


def print_reference(path: Path, types: list[str], workers: int) -> None:
    """Print the shares and the misses against a file of reference rows."""
    verdicts = list(in_workers(compare, reference_rows(path, types), workers))
    clear = [verdict for verdict in verdicts if not verdict.flagged]
    print(f"{'':28}{f'unflagged ({len(clear)})':>20}{f'all ({len(verdicts)})':>20}")
    for question, words in QUESTIONS.items():
        print(f"{words:28}{_share(clear, question):>20}{_share(verdicts, question):>20}")
    for words, kind, base in RATIOS:
        print(f"{words:36}{_ratio(clear, kind, base):>12}{_ratio(verdicts, kind, base):>20}")
    for title, group in (("unflagged", clear), ("flagged", [item for item in verdicts if item.flagged])):
        print_misses(title, group)


def _share(verdicts: list[Verdict], question: str) -> str:
    right = sum(verdict.right(question) for verdict in verdicts)
    return f"{right} = {right / max(len(verdicts), 1):.1%}"


def _ratio(verdicts: list[Verdict], kind: str, base: int) -> str:
    """Return the mean over classes of both / reference (recall, 0) or both / ours (precision, 1)."""
    counts = [getattr(verdict, kind) for verdict in verdicts]
    shares = [count[2] / count[base] for count in counts if count[base]]
    return f"{sum(shares) / max(len(shares), 1):.2%}"


def print_misses(title: str, verdicts: list[Verdict]) -> None:
    """Print each miss, and whether the inventory said that it is in doubt."""
    for question in QUESTIONS:
        for verdict in verdicts:
            if not verdict.right(question):
                said = "refused" if verdict.said else "silent"
                what = verdict.error or ", ".join(verdict.missed[question][:6])
                print(f"{title} {question} {said}: {verdict.model_type} {verdict.class_name}: {what[:300]}")


def main() -> None:
    """Read the command line and print the asked for comparison."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.architectures")
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--all-types", action="store_true")
    parser.add_argument("--types", default="", help="model types, separated by commas")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    types = [name for name in asked.types.split(",") if name]
    if asked.file:
        print_reference(asked.file, types, asked.workers)
    if asked.all_types:
        keys = [key for key in every_class() if not types or key[0] in types]
        print_entries(list(in_workers(describe, keys, asked.workers)))


if __name__ == "__main__":
    main()
