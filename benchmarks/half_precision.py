"""Train the upper layers of the real MiniLM in float32, in bf16, and with frozen weights in bfloat16, and compare.

``python -m benchmarks.half_precision [FOLDER] [--rows N]`` reads SNIPS (intent) and CR (sentiment) from FOLDER
(default: ``../shared/data``), the first N rows of each split (default: 400), and trains the upper two layers and two
heads in each of the ways. It prints the test accuracies, their distance to those of float32 in standard errors (of a
binomial share over the test rows), whether what was frozen is bit-identical, whether a run that was stopped in the
middle ends in the same files, and the peak that a step needs with frozen weights in bfloat16, predicted and measured.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from benchmarks.predicted_peak import Case, outcome_of
from benchmarks.shared_sets import SETS, THAWED, spec_of
from freezeplan.api import load_spec
from freezeplan.runs.events import Event, StepDone
from freezeplan.runs.times import TIMES
from freezeplan.spec.tables import Spec
from freezeplan.train.resume import resume
from freezeplan.train.run import RunResult, train

EPOCHS = 2
WAYS: dict[str, dict[str, dict[str, Any]]] = {
    "float32": {},
    "bf16": {"train": {"precision": "bf16"}},
    "bf16, frozen in bfloat16": {"train": {"precision": "bf16"}, "model": {"frozen_dtype": "bfloat16"}},
}
WITHIN = 0.1
"""How far the predicted peak may be from the measured one."""


@dataclass(frozen=True)
class Compared:
    """One way of training beside float32: accuracies, their distance in standard errors, and what was proved."""

    way: str
    accuracies: dict[str, float]
    apart: dict[str, float]
    frozen_held: bool
    resumed: bool | None

    @property
    def holds(self) -> bool:
        """Whether metrics agree within one standard error, nothing frozen moved, and the resumed run is the same."""
        near = all(abs(distance) <= 1.0 for distance in self.apart.values())
        return near and self.frozen_held and self.resumed is not False


def copy_rows(source: Path, folder: Path, count: int) -> None:
    """Copy the first rows of each split of both sets."""
    for name in SETS.values():
        (folder / name).mkdir(parents=True)
        for split in ("train", "validation", "test"):
            with (source / name / f"{split}.jsonl").open(encoding="utf-8") as rows:
                text = "".join(itertools.islice(rows, count))
            (folder / name / f"{split}.jsonl").write_text(text, "utf-8")


def spec_for(folder: Path, way: str) -> Spec:
    """Return the spec of one way."""
    tables = spec_of(folder, THAWED, "joint", EPOCHS)
    return load_spec(tables | {key: tables.get(key, {}) | more for key, more in WAYS[way].items()})


def compared(way: str, result: RunResult, base: RunResult, folder: Path, out: Path) -> Compared:
    """Compare a run with that in float32; one in half precision is made again, stopped in the middle and resumed."""
    accuracies = {task: result.test[task]["accuracy"] for task in SETS}
    apart = {}
    for task, accuracy in accuracies.items():
        reference = base.test[task]["accuracy"]
        count = len((folder / SETS[task] / "test.jsonl").read_text("utf-8").splitlines())
        apart[task] = (accuracy - reference) / sqrt(max(reference * (1 - reference), 1 / count) / count)
    held = result.evidence is not None and result.evidence.holds
    resumed = None if way == "float32" else same_after_a_stop(folder, way, out)
    return Compared(way, accuracies, apart, held, resumed)


def same_after_a_stop(folder: Path, way: str, whole: Path) -> bool:
    """Train once more, stop in the middle of the last epoch, resume; whether the folder is the same to the byte."""
    out, seen = whole.with_name(f"{whole.name} again"), []
    steps = max(
        json.loads(line).get("step", 0) for line in (whole / "metrics.jsonl").read_text("utf-8").splitlines()
    )

    def stop(event: Event) -> None:
        if isinstance(event, StepDone):
            seen.append(event)
            if len(seen) == steps * 3 // 4:
                raise KeyboardInterrupt

    train(spec_for(folder, way), out, stop)
    resume(out)
    return tree(out) == tree(whole)


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder but the times, which differ, with its bytes."""
    files = (item for item in sorted(folder.rglob("*")) if item.is_file() and item.name != TIMES)
    return {item.relative_to(folder).as_posix(): item.read_bytes() for item in files}


def line(item: Compared) -> str:
    """Return the line of one way."""
    scores = ", ".join(
        f"{task} {accuracy:.3f} ({item.apart[task]:+.2f} SE)" for task, accuracy in item.accuracies.items()
    )
    frozen = "frozen bit-identical" if item.frozen_held else "frozen MOVED"
    resumed = {None: "", True: ", resumed to the same files", False: ", resumed to OTHER files"}[item.resumed]
    return f"{item.way:26}{scores}; {frozen}{resumed}"


def main() -> None:
    """Read the command line, train, and print; the exit status says whether all of it holds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.half_precision")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("../shared/data"))
    parser.add_argument("--rows", type=int, default=400, help="rows of each split (default: 400)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder, right = Path(place) / "data", True
        copy_rows(asked.folder, folder, asked.rows)
        base: RunResult | None = None
        for number, way in enumerate(WAYS):
            out = Path(place) / f"run {number}"
            result = train(spec_for(folder, way), out)
            base = base or result
            item = compared(way, result, base, folder, out)
            print(line(item), flush=True)
            right = right and item.holds
    for frozen in ("half", "all"):
        peak = outcome_of(Case("MiniLM", frozen, 32, narrow=True), margin=False)
        right = right and abs(peak.ratio - 1) <= WITHIN
        print(
            f"peak of a step, {frozen} frozen in bfloat16: predicted over measured {peak.ratio:.3f}",
            flush=True,
        )
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
