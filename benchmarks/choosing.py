"""Hold what `compare` chooses against the whole grid: is it within one standard error of the best, and at which cost.

``python -m benchmarks.choosing [--sets NAMES] [--rows N] [--epochs N] [--data FOLDER]`` compares all strategies on the
packaged MiniLM, then trains every one of them to its end in runs of their own that share nothing. Per set it prints
what was chosen, how far that is from the best of the grid on the same validation rows, and the CPU seconds of both
sides. It needs the public sets in FOLDER (default: ``../shared/data`` beside the checkout).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from benchmarks.minilm import SOURCE  # noqa: E402
from freezeplan.choose.comparing import compare, read_outcomes  # noqa: E402
from freezeplan.choose.comparison_records import StrategyComparison  # noqa: E402
from freezeplan.choose.judging import Contender, best_of, difference  # noqa: E402
from freezeplan.choose.strategies import FEATURES  # noqa: E402
from freezeplan.choose.trials import advance  # noqa: E402
from freezeplan.runs.events import ignore_events  # noqa: E402
from freezeplan.spec.reading import load_spec  # noqa: E402
from freezeplan.spec.tables import Spec  # noqa: E402

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TEXT = {"text": "text", "label": "label"}
SETS: dict[str, tuple[str, dict[str, Any]]] = {
    "snips": ("snips", TEXT),
    "cr": ("cr", TEXT),
    "clinc150": ("clinc150", TEXT),
    "clinc150 domains": ("clinc150", {"text": "text", "label": "domain"}),
    "clinc150 few": ("clinc150", TEXT),
    "wikigold": ("wikigold", {"tokens": "tokens", "tags": "tags"}),
}
FEW = 20
"""Rows of each class of a set whose name ends in ``few``."""
RULES = [{"match": "**", "state": "trainable"}, {"match": "@pooler", "state": "frozen"}]


@dataclass(frozen=True)
class Held:
    """Say how a choice compares with the whole grid."""

    chosen: str
    best: str
    short: float
    error: float
    compared: float
    grid: float

    @property
    def within(self) -> bool:
        """Whether the choice is at most one standard error short of the best of the grid."""
        return self.short <= self.error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sets and print what came out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.choosing", description=__doc__)
    parser.add_argument("--sets", default=",".join(SETS), help=f"some of: {', '.join(SETS)}")
    parser.add_argument("--rows", type=int, help="training rows, the first of each set (default: all)")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args(arguments)
    found = {}
    for name in options.sets.split(","):
        with tempfile.TemporaryDirectory(prefix="freezeplan-choosing-") as place:
            found[name] = _held(_spec(name, options, Path(place)), Path(place))
        print(_line(name, found[name]), flush=True)
    within = sum(item.within for item in found.values())
    ratio = sum(item.compared for item in found.values()) / sum(item.grid for item in found.values())
    print(f"within one standard error: {within} of {len(found)}; CPU seconds: {ratio:.2f} of the grid's")
    return 0


def _line(name: str, held: Held) -> str:
    verdict = "within one standard error" if held.within else "NOT within one standard error"
    return (
        f"{name}: chose {held.chosen}, {held.short:.4f} ± {held.error:.4f} short of {held.best}: {verdict}; "
        f"{held.compared:.0f} CPU s, grid {held.grid:.0f}"
    )


def _spec(name: str, options: argparse.Namespace, place: Path) -> Spec:
    """Write the cut data of a set; return a spec over them."""
    folder, columns = SETS[name]
    for split, rows in (("train", options.rows), ("validation", None)):
        with (options.data / folder / f"{split}.jsonl").open(encoding="utf-8") as source:
            lines = _few(source) if name.endswith("few") and split == "train" else source
            (place / f"{split}.jsonl").write_text("".join(islice(lines, rows)), "utf-8")
    data = {split: str(place / f"{split}.jsonl") for split in ("train", "validation")} | columns
    kind = "token_classification" if "tags" in columns else "classification"
    return load_spec(
        {
            "model": {"source": SOURCE},
            "rule": RULES,
            "task": [{"name": "task", "kind": kind, "data": data}],
            "train": {"epochs": options.epochs, "batch_size": 32},
        }
    )


def _few(lines: Iterable[str]) -> Iterator[str]:
    """Yield the first rows of each class."""
    seen: Counter[str] = Counter()
    for line in lines:
        label = json.loads(line)["label"]
        seen[label] += 1
        if seen[label] <= FEW:
            yield line


def _held(spec: Spec, place: Path) -> Held:
    begun = time.process_time()
    found = compare(spec, place / "compared")
    between = time.process_time()
    grid = [_whole(found, name, place) for name in (item.name for item in found.candidates)]
    ended = time.process_time()
    best = best_of(grid)
    assert found.verdict is not None
    chosen = next(item for item in grid if item.name == found.verdict.chosen)
    short, error = difference(best, chosen)
    return Held(chosen.name, best.name, short, error, between - begun, ended - between)


def _whole(found: StrategyComparison, name: str, place: Path) -> Contender:
    """Train one candidate to its end in a run of its own; that of the linear probes is taken as it is."""
    item = next(item for item in found.candidates if item.name == name)
    seed = found.trials[0].seed
    if name == FEATURES:
        trial = found.trial(name, seed, 0)
        assert trial is not None
        outcomes = read_outcomes(place / "compared", trial)
    else:
        outcomes = dict(
            advance(
                place / "compared" / item.spec, place / "grid" / name, found.epochs, ignore_events
            ).outcomes
        )
    return Contender(name, {seed: outcomes}, item.flops, 0.0, 0.0, found.epochs, item.peak_bytes, 0, True)


if __name__ == "__main__":
    raise SystemExit(main())
