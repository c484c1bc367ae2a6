"""Train a gradual schedule of four phases over eight epochs with the store and without, and compare both.

``python -m benchmarks.gradual_store [--sentences N] [--repeats N] [--json FILE]`` thaws the real MiniLM from
the top: two epochs of the head alone, two with the upper two layers, two with four, two with all six. It prints how
many times longer the schedule takes without the store, in all and phase by phase, and how far apart the losses and
scores of the two are. Reading the data and loading the model are not counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.minilm import BATCH_SIZE, TASK, parser, spec_of, write_sentences
from benchmarks.our_run import OurRun, timed_run
from benchmarks.timing import in_turns, median_ratio, set_one_thread, write_json
from freezeplan.spec.tables import Spec

EPOCHS_PER_PHASE = 2
PHASES = ("head", "+ 2 layers", "+ 4 layers", "+ 6 layers")
ALLOWED = 1e-5
RULES = [
    {"name": "backbone", "match": "@backbone", "state": "frozen"},
    {"name": "head", "match": "heads", "state": "trainable", "lr_mult": 10.0},
]


def schedule(files: dict[str, str], store: str) -> Spec:
    """Return the spec of the schedule, ``store`` being ``require`` or ``off``."""
    gradual = {"over": ["@layers"], "per_phase": 2, "epochs": EPOCHS_PER_PHASE}
    return spec_of(files, RULES, gradual=gradual, train={"store": store, "eval_batch_size": 128})


@dataclass(frozen=True)
class Apart:
    """Hold the largest difference of a training loss, a validation loss and an accuracy over all epochs."""

    loss: float
    validation_loss: float
    accuracy: float

    @property
    def line(self) -> str:
        """The differences, and whether they are within what rounding does."""
        same = max(self.loss, self.validation_loss) <= ALLOWED
        verdict = "the same" if same else "NOT the same"
        return (
            f"largest difference over all epochs: training loss {self.loss:.1e}, validation loss "
            f"{self.validation_loss:.1e}, accuracy {self.accuracy:.1e}: {verdict} (<= {ALLOWED:.0e})"
        )


def apart(left: OurRun, right: OurRun) -> Apart:
    """Compare two runs epoch by epoch."""

    def largest(pairs: Any) -> float:
        return max(abs(one - other) for one, other in pairs)

    pairs = list(zip(left.epochs, right.epochs, strict=True))
    return Apart(
        largest((one.losses[TASK], other.losses[TASK]) for one, other in pairs),
        largest((one.scores[TASK]["loss"], other.scores[TASK]["loss"]) for one, other in pairs),
        largest((one.scores[TASK]["accuracy"], other.scores[TASK]["accuracy"]) for one, other in pairs),
    )


def phase_seconds(run: OurRun, phase: int) -> float:
    """Return what a phase took, counted from 0."""
    first = phase * EPOCHS_PER_PHASE
    return sum(epoch.seconds for epoch in run.epochs[first : first + EPOCHS_PER_PHASE])


Seconds = Callable[[OurRun], float]
SECONDS: dict[str, Seconds] = {"whole schedule": lambda run: run.seconds} | {
    name: partial(phase_seconds, phase=place) for place, name in enumerate(PHASES)
}


def ratios_of(runs: Mapping[str, list[OurRun]]) -> dict[str, float]:
    """Return the ratio without to with the store, of the whole schedule and of each phase."""
    return {
        name: median_ratio(list(map(seconds, runs["off"])), list(map(seconds, runs["require"])))
        for name, seconds in SECONDS.items()
    }


def lines(runs: Mapping[str, list[OurRun]]) -> list[str]:
    """Return the ratios beside their seconds, and how each phase ran."""
    rows = []
    for name, ratio in ratios_of(runs).items():
        off, on = (median(map(SECONDS[name], runs[way])) for way in ("off", "require"))
        rows.append(f"{name:16}{ratio:7.2f}x   without the store {off:7.2f}, with {on:7.2f}")
    said = zip(PHASES, runs["require"][0].statements, strict=True)
    return [*rows, *(f"{name}: {statement}" for name, statement in said)]


def main() -> None:
    """Read the command line, run both in turns, and print ratios and differences."""
    asked = parser("gradual_store").parse_args()
    clock = set_one_thread()
    print(
        f"MiniLM, {asked.sentences} sentences, batches of {BATCH_SIZE}, {len(PHASES)} phases of "
        f"{EPOCHS_PER_PHASE} epochs, {asked.repeats} interleaved repeats; {clock.unit}",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        files = write_sentences(asked.data, Path(folder), asked.sentences)
        files["validation"] = str(asked.data / "cr" / "validation.jsonl")
        works = {way: partial(timed_run, schedule(files, way), clock) for way in ("off", "require")}
        runs = in_turns(works, asked.repeats)
    differences = [apart(*pair) for pair in zip(runs["off"], runs["require"], strict=True)]
    print(*lines(runs), max(differences, key=lambda item: item.loss).line, sep="\n")
    write_json(asked.json, record(runs, differences))


def record(runs: Mapping[str, list[OurRun]], differences: list[Apart]) -> dict[str, Any]:
    """Return the JSON form."""
    return {
        "ratios": ratios_of(runs),
        "differences": [asdict(item) for item in differences],
        "runs": {way: [asdict(run) for run in found] for way, found in runs.items()},
    }


if __name__ == "__main__":
    main()
