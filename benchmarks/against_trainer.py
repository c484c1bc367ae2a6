"""Train with the bundled trainer and with transformers' Trainer: the same parameters frozen, the same everything.

``python -m benchmarks.against_trainer [--sentences N] [--repeats N] [--case NAME] [--json FILE]`` trains one
head on the real MiniLM with four shares of it frozen, and prints how many times longer the Trainer takes. Both get
the same model, sentences, batch size, padding, AdamW (fused), clipping and rate. Importing, tokenising and loading
the model are counted on neither side. Of ours all else is: building the store, hashing the weights and writing a
checkpoint after every epoch. The Trainer saves nothing. Its frozen layers run with dropout, as they do when nobody
puts them into eval mode.

Ours really runs for 1, 3 and 10 epochs (with nothing frozen for three, the others by its later epochs). After each
of its epochs the Trainer trains one, in turn in its three ways, so that both meet the same machine. On both sides N
epochs count N times the median epoch; of ours the cut, the store and the end of the run are added, once. Since ours
makes batches of alike lengths by itself, the Trainer runs like for like too: ``bucketed`` with its own length
sampler, and on ``our batches``, the very same.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.minilm import (
    BATCH_SIZE,
    FROZEN,
    TASK,
    lengths_line,
    parser,
    rules_of,
    spec_of,
    write_sentences,
)
from benchmarks.our_run import OurRun, timed_run
from benchmarks.stock_trainer import trainer_epoch
from benchmarks.timing import Clock, at_least, in_turns, set_one_thread, write_json
from freezeplan.train.setup import Setup, prepare

LENGTHS = (1, 3, 10)
# Where nothing is frozen every epoch costs the same: not all of them need to run.
REALLY_RUN = {"nothing frozen": (3,)}
TRAINERS = {"as it comes": "random", "bucketed": "group_by_length", "our batches": "sequential"}


@dataclass(frozen=True)
class Target:
    """Say what a ratio should be at least: of a whole run of some epochs, or (0) of one epoch after the first."""

    trainer: str
    epochs: int
    at_least: float


TARGETS = {
    "heads only": (
        Target("as it comes", 3, 4.5),
        Target("as it comes", 10, 15.0),
        Target("as it comes", 0, 200.0),
    ),
    "5/6 frozen": (Target("bucketed", 10, 2.5), Target("our batches", 10, 2.5)),
    "1/2 frozen": (Target("bucketed", 10, 1.3), Target("our batches", 10, 1.3)),
    "nothing frozen": (Target("bucketed", 10, 0.97), Target("our batches", 10, 0.97)),
}


@dataclass(frozen=True)
class Case:
    """Hold what one case took: the Trainer's epochs by the way it was run, and our runs by their length."""

    name: str
    theirs: dict[str, list[float]]
    ours: dict[int, list[OurRun]]

    def ratio(self, trainer: str, epochs: int) -> float:
        """Return how many times longer the Trainer takes for a whole run of so many epochs."""
        return epochs * median(self.theirs[trainer]) / median(self.seconds(epochs))

    def seconds(self, epochs: int) -> list[float]:
        """Return what our runs of so many epochs take; where none was run, the longest tell."""
        runs = self.ours.get(epochs) or self.ours[max(self.ours)]
        return [run.lasting(epochs) for run in runs]

    def later(self, trainer: str) -> float:
        """Return the same for the steps of one epoch after the first, in which the store is there already."""
        later = median(run.later_steps for run in self.ours[max(self.ours)])
        return median(self.theirs[trainer]) / later

    def reached(self, target: Target) -> float:
        """Return the ratio that a target is about."""
        return self.ratio(target.trainer, target.epochs) if target.epochs else self.later(target.trainer)


def measure(name: str, files: dict[str, str], clock: Clock, repeats: int) -> Case:
    """Measure one case: runs of ours of each length, and after each of their epochs one of a Trainer, in turns."""
    specs = {
        epochs: spec_of(files, rules_of(FROZEN[name]), train={"epochs": epochs})
        for epochs in REALLY_RUN.get(name, LENGTHS)
    }
    setup = prepare(specs[max(specs)])
    theirs: dict[str, list[float]] = {trainer: [] for trainer in TRAINERS}
    turns = cycle(TRAINERS)

    def between() -> None:
        trainer = next(turns)
        theirs[trainer].append(trainer_epoch(setup, clock, TRAINERS[trainer]))

    works = {epochs: partial(timed_run, spec, clock, between) for epochs, spec in specs.items()}
    return Case(name, theirs, in_turns(works, repeats))


def head() -> str:
    """Return the line above the cases."""
    return (
        f"{'':16}{'epochs':14}"
        + "".join(f"{f'over {count}':>11}" for count in LENGTHS)
        + f"{'later epoch':>13}"
    )


def lines(case: Case) -> list[str]:
    """Return what is printed of one case: ratios, then targets, then seconds."""
    rows = []
    for trainer in TRAINERS:
        ratios = "".join(f"{case.ratio(trainer, count):10.2f}x" for count in LENGTHS)
        rows.append(f"{case.name:16}{trainer:14}{ratios}{case.later(trainer):12.1f}x")
    for target in TARGETS[case.name]:
        what = f"{target.epochs} epochs" if target.epochs else "a later epoch"
        rows.append(f"    {target.trainer}, {what:16}{at_least(case.reached(target), target.at_least)}")
    return [*rows, f"    {seconds_line(case)}", *statement_lines(case)]


def seconds_line(case: Case) -> str:
    """Return the median seconds behind the ratios, of our longest runs."""
    theirs = ", ".join(f"{name} {median(found):.2f}" for name, found in case.theirs.items())
    runs = case.ours[max(case.ours)]
    choosing = median(run.epochs[0].choosing for run in runs)
    later = median(run.later_steps for run in runs)
    saving = median(epoch.saving for run in runs for epoch in run.epochs)
    return (
        f"seconds of an epoch: {theirs}; ours {later:.3f} in steps and {saving:.3f} for hashes and saving, "
        f"after {choosing:.2f} for the cut and the store; {median(run.seconds for run in runs):.1f} in all"
    )


def statement_lines(case: Case) -> list[str]:
    """Return how the frozen part of our runs ran."""
    return [f"    {epochs:2} epochs: {', '.join(runs[0].statements)}" for epochs, runs in case.ours.items()]


def record(case: Case) -> dict[str, Any]:
    """Return the JSON form of one case."""
    ratios = {
        trainer: {str(count): case.ratio(trainer, count) for count in LENGTHS}
        | {"later epoch": case.later(trainer)}
        for trainer in TRAINERS
    }
    return {
        "case": case.name,
        "ratios": ratios,
        "targets": [asdict(target) | {"ratio": case.reached(target)} for target in TARGETS[case.name]],
        "trainer_epochs": case.theirs,
        "ours": {str(epochs): [asdict(run) for run in runs] for epochs, runs in case.ours.items()},
    }


def introduction(setup: Setup, clock: Clock, asked: argparse.Namespace) -> str:
    """Say what is compared."""
    counts = setup.data["train"][TASK].inputs.widths.tolist()
    return (
        f"MiniLM, {lengths_line(counts)}, batches of {BATCH_SIZE}, repeats: {asked.repeats}; {clock.unit}\n"
        "times longer that transformers' Trainer takes than a whole run of ours, store, hashes and checkpoints "
        "included;\nimport, tokenisation and model loading on neither side; N epochs = N x the median epoch on "
        "both sides, the Trainer's run in turns between ours"
    )


def main() -> None:
    """Read the command line, measure the cases and print them."""
    made = parser("against_trainer", repeats=1)
    made.add_argument("--case", choices=FROZEN, action="append", help="only this case; repeatable")
    asked = made.parse_args()
    clock, found = set_one_thread(), []
    with tempfile.TemporaryDirectory() as folder:
        files = write_sentences(asked.data, Path(folder), asked.sentences)
        print(introduction(prepare(spec_of(files, rules_of([]))), clock, asked), head(), sep="\n", flush=True)
        for name in asked.case or FROZEN:
            found.append(measure(name, files, clock, asked.repeats))
            print(*lines(found[-1]), sep="\n", flush=True)
    write_json(asked.json, [record(case) for case in found])


if __name__ == "__main__":
    main()
