"""Hold runs with ``[freeze_when]`` against the same runs without it: CPU seconds, and scores on the same rows.

``python -m benchmarks.freezing_when [--set NAME …] [--rows N] [--epochs N] [--percentile P]`` trains all of the
packaged MiniLM on a public set, once as it is and once with layers that freeze as they settle, and prints what froze
after which epoch, both scores with their standard errors, the difference on the same validation rows with its own, and
how many times fewer CPU seconds the run took, evaluation, evidence and checkpoints included.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cut_sets import SETS, TASK, cut_spec
from benchmarks.timing import Clock, at_least, set_one_thread
from freezeplan.choose.outcomes import Outcome
from freezeplan.choose.trials import RowsSeen
from freezeplan.spec.tables import Spec
from freezeplan.train.run import train
from freezeplan.train.session import Session

TARGET = 1.3
HEADS = {"match": "heads", "state": "trainable", "lr": 1e-3}
RULES = [
    {"match": "**", "state": "trainable"},
    {"match": "@pooler", "state": "frozen"},
    HEADS,
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sets and print what came out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.freezing_when", description=__doc__)
    parser.add_argument(
        "--set", choices=SETS, action="append", help="a set; repeatable (default: cr, wikigold)"
    )
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--validation", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--percentile", type=float, default=50.0)
    parser.add_argument("--per-phase", type=int, default=1)
    parser.add_argument("--keep", type=int, help="layers at the top that never freeze (default: half)")
    options = parser.parse_args(arguments)
    clock = set_one_thread()
    for name in options.set or ("cr", "wikigold"):
        with tempfile.TemporaryDirectory() as place:
            print(*_lines(name, options, Path(place), clock), sep="\n", flush=True)
    return 0


def _lines(name: str, options: argparse.Namespace, place: Path, clock: Clock) -> list[str]:
    when = {"percentile": options.percentile, "per_phase": options.per_phase, "keep": options.keep}
    tables = {"rule": RULES, "optimizer": {"lr": 5e-5}, "schedule": {"name": "linear", "warmup": 0.06}}
    sizes = (options.rows, options.validation, options.epochs, place)
    plain, plain_seconds = _run(cut_spec(name, *sizes, **tables), place / "plain", clock)
    spec = cut_spec(name, *sizes, **tables, freeze_when=when)
    found, seconds = _run(spec, place / "freezing", clock)
    less, error = plain.beyond(found)
    within = "within" if less <= error + 1e-9 else "NOT within"
    return [
        f"{name}, {options.rows} rows, {options.epochs} epochs; {clock.unit}",
        *(f"    {line}" for line in _phases(place / "freezing")),
        f"    without: {plain.score:.3f} ± {plain.error:.3f}, {plain_seconds:.1f} s",
        f"    with:    {found.score:.3f} ± {found.error:.3f}, {seconds:.1f} s",
        f"    short of it by {less:.3f} ± {error:.3f}: {within} one standard error",
        f"    {at_least(plain_seconds / seconds, TARGET)}",
    ]


def _run(spec: Spec, out: Path, clock: Clock) -> tuple[Outcome, float]:
    held: list[RowsSeen] = []

    def watch(session: Session) -> None:
        held.append(RowsSeen(session.setup.data["validation"]))
        session.running.measuring.seen = held[0]

    seconds = clock.seconds(lambda: train(spec, out, opened=watch))
    return held[0].outcomes()[TASK], seconds


def _phases(run: Path) -> list[str]:
    evidence: dict[str, Any] = json.loads((run / "evidence.json").read_text("utf-8"))
    return [f"{item['phase']}: {item['steps']} steps, {item['ended']}" for item in evidence["phases"]]


if __name__ == "__main__":
    raise SystemExit(main())
