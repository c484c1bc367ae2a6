"""Hold runs with ``[freeze_when]`` against the same runs without it: CPU seconds, and scores on the same rows.

``python -m benchmarks.freezing_when [--set NAME …] [--rows N] [--epochs N] [--seeds N] [--tolerance T]`` trains all of
the packaged MiniLM on a public set, once as it is, once with layers that freeze as they settle. It prints what froze
after which epoch, both scores, how far the one falls short of the other, and how many times fewer CPU seconds it took,
evaluation, evidence and checkpoints included. The rule looks at training rows alone, so validation rows are test rows
here. Ten epochs are enough for layers to settle; with ``--epochs 6`` a run is still on its way, and gains less.

The standard error of a score is binomial, of a difference that of the bootstrap over rows that both answered; what
seeds differ by counts towards both (:mod:`freezeplan.choose.judging`).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cut_sets import SETS, cut_spec
from benchmarks.timing import Clock, at_least, set_one_thread
from freezeplan.choose.judging import Contender, Outcomes, difference
from freezeplan.choose.trials import RowsSeen
from freezeplan.spec.tables import Spec
from freezeplan.train.run import train
from freezeplan.train.session import Session

TARGET, FIRST_SEED = 1.3, 13
HEADS = {"match": "heads", "state": "trainable", "lr": 1e-3}
RULES = [
    {"match": "**", "state": "trainable"},
    {"match": "@pooler", "state": "frozen"},
    HEADS,
]
OF_RULE = ("rule", "per_phase", "keep", "tolerance", "percentile", "intervals")


@dataclass(frozen=True)
class Side:
    """Hold one side's outcomes by seed, and the seconds of each of its runs."""

    name: str
    outcomes: Mapping[int, Outcomes]
    seconds: Sequence[float]

    @property
    def contender(self) -> Contender:
        """What a comparison knows of it."""
        return Contender(self.name, self.outcomes, 0, sum(self.seconds), 0.0, 0, 0, 0, True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sets and print what came out."""
    options = _parser().parse_args(arguments)
    clock = set_one_thread()
    for name in options.set or ("snips", "cr"):
        with tempfile.TemporaryDirectory() as place:
            for line in _lines(name, options, Path(place), clock):
                print(line, flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.freezing_when", description=__doc__)
    parser.add_argument("--set", choices=SETS, action="append", help="a set; repeatable (default: snips, cr)")
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--validation", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--rule", choices=("egeria", "autofreeze"), default="egeria")
    parser.add_argument("--tolerance", type=float)
    parser.add_argument("--percentile", type=float)
    parser.add_argument("--intervals", type=int)
    parser.add_argument("--per-phase", type=int, default=1)
    parser.add_argument("--keep", type=int, help="layers at the top that never freeze (default: half)")
    return parser


def _lines(name: str, options: argparse.Namespace, place: Path, clock: Clock) -> Iterator[str]:
    yield f"{name}, {options.rows} rows, {options.epochs} epochs; {clock.unit}"
    when = {key: getattr(options, key) for key in OF_RULE}
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    plain: dict[int, tuple[Outcomes, float]] = {}
    freezing: dict[int, tuple[Outcomes, float]] = {}
    for seed in seeds:
        plain[seed] = _run(_spec(name, options, place, seed), place / f"plain-{seed}", clock)
        freezing[seed] = _run(
            _spec(name, options, place, seed, freeze_when=when), place / f"freezing-{seed}", clock
        )
        yield f"    seed {seed}: {plain[seed][1]:.1f} s without, {freezing[seed][1]:.1f} s with"
        yield from (f"        {line}" for line in _phases(place / f"freezing-{seed}"))
        yield from _verdict(_side("without", plain), _side("with", freezing))


def _side(name: str, found: Mapping[int, tuple[Outcomes, float]]) -> Side:
    return Side(name, {seed: item[0] for seed, item in found.items()}, [item[1] for item in found.values()])


def _verdict(plain: Side, freezing: Side) -> Iterator[str]:
    less, error = difference(plain.contender, freezing.contender)
    yield f"    of {len(plain.seconds)} seeds so far:" if len(plain.seconds) > 1 else "    of one seed:"
    for side in (plain, freezing):
        score = side.contender
        yield f"    {side.name:8} {score.score:.3f} ± {score.error:.3f}, {sum(side.seconds):.1f} s"
    within = "within" if less <= error + 1e-9 else "NOT within"
    of_score = "within" if less <= plain.contender.error + 1e-9 else "NOT within"
    yield f"    short of it by {less:.3f} ± {error:.3f}: {within} one standard error of the difference,"
    yield f"    {of_score} one of the score"
    yield f"    {at_least(sum(plain.seconds) / sum(freezing.seconds), TARGET)}"


def _spec(name: str, options: argparse.Namespace, place: Path, seed: int, **more: Any) -> Spec:
    tables = {
        "rule": RULES,
        "optimizer": {"lr": options.lr},
        "schedule": {"name": "linear", "warmup": 0.06},
        "train": {"epochs": options.epochs, "batch_size": 32, "seed": seed},
    }
    return cut_spec(name, options.rows, options.validation, options.epochs, place, **tables, **more)


def _run(spec: Spec, out: Path, clock: Clock) -> tuple[Outcomes, float]:
    held: list[RowsSeen] = []

    def watch(session: Session) -> None:
        held.append(RowsSeen(session.setup.data["validation"]))
        session.running.measuring.seen = held[0]

    seconds = clock.seconds(lambda: train(spec, out, opened=watch))
    return held[0].outcomes(), seconds


def _phases(run: Path) -> list[str]:
    evidence: dict[str, Any] = json.loads((run / "evidence.json").read_text("utf-8"))
    return [
        f"{item['phase']}: {item['steps']} steps, {item['ended']}"
        for item in evidence["phases"]
        if item["steps"]
    ]


if __name__ == "__main__":
    raise SystemExit(main())
