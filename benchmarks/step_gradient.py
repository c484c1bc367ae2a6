"""Compare the gradient of one step, its rows in 1, 2 or 4 batches and in 1 or 2 processes, for every kind of task.

``python -m benchmarks.step_gradient`` takes a tiny random BERT (a Llama for language modelling) without dropout, and
one task after another, of every kind there is. It prints for each the largest difference of any number of the gradient
from that of all rows in one batch of one process, relative to the largest number of it. A batch that is one whole
(in-batch negatives) cannot be spread. It ends with status 1 where a difference is above 1e-5, or a kind has no rows.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from freezeplan.outside.quiet import quiet
from freezeplan.runs.events import ignore_events
from freezeplan.runs.run_folder import RunFolder
from freezeplan.spec.tables import Spec
from freezeplan.tasks import TASK_KINDS, TaskKind
from freezeplan.train.batches import Part
from freezeplan.train.phases import _loop
from freezeplan.train.running import Running
from freezeplan.train.setup import prepare
from tests.train.language import PROMPT, language_spec, save_language_model, write_language_data
from tests.train.phased import ALL, POOLER
from tests.train.ranked import on_two_ranks
from tests.train.targets import tasks_of_every_kind, write_targets
from tests.train.tiny import toy_spec

ROWS = 16
BATCHES = (1, 2, 4)
ALLOWED = 1e-5
RULES = [ALL, POOLER, {"match": "heads", "state": "trainable", "optional": True}]
EVERYTHING = [{"match": "**", "state": "trainable"}]
Gradient = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Case:
    """Name a task, its kind, and the spec that trains it alone."""

    name: str
    kind: TaskKind
    spec: Spec

    @property
    def spreads(self) -> tuple[int, ...]:
        """In how many batches the rows of a step may be."""
        return BATCHES if self.kind.rowwise else BATCHES[:1]


def cases(folder: Path) -> Iterator[Case]:
    """Yield a task of each kind, and a spec that trains all but what the task does not read."""
    train = {"epochs": 1, "batch_size": ROWS}
    for task in tasks_of_every_kind(folder):
        kind = TASK_KINDS[task.get("kind", "classification")]
        rules = RULES[:2] if kind.compares and task.get("head") != kind.trained_head else RULES
        yield Case(task["name"], kind, toy_spec(folder, rule=rules, task=[task], train=train))
    words = folder / "words"
    spec = language_spec(words, words / "llama", PROMPT, rule=EVERYTHING, train=train)
    yield Case(spec.task[0].name, TASK_KINDS["causal_lm"], spec)


def write_inputs(folder: Path) -> None:
    """Write the models and the rows of all cases."""
    write_targets(folder)
    words = folder / "words"
    words.mkdir()
    write_language_data(words)
    save_language_model(words / "llama", "llama")


def gradient(case: Case, batches: int) -> Gradient:
    """Return the gradient of a step over the first rows of a task, in so many batches of alternate rows."""
    run = Running(prepare(case.spec), RunFolder(Path("never")), ignore_events)
    run.enter_phase()
    run.ledger.begin_phase(0)
    loop = _loop(run)
    loop.model.eval()
    parts = tuple(Part(case.name, tuple(range(first, ROWS, batches))) for first in range(batches))
    loop.accumulate_gradients(parts)
    loop.ranks.set_summed_gradients(loop.ever_trained)
    return {name: t.grad for name, t in loop.model.named_parameters() if t.grad is not None}


def work(folder: Path) -> None:
    """Write down this process's gradients of all tasks and spreads."""
    for case in cases(folder):
        for batches in case.spreads if case.kind.rowwise else ():
            found = gradient(case, batches)
            save_file(found, folder / f"{case.name}-{batches}-{torch.distributed.get_rank()}.st")


def apart(found: Gradient, expected: Gradient) -> float:
    """Return the largest difference, relative to the largest number."""
    assert found.keys() == expected.keys()
    scale = max(float(value.abs().max()) for value in expected.values())
    return max(float((found[name] - value).abs().max()) for name, value in expected.items()) / scale


def differences(folder: Path) -> Iterator[tuple[Case, list[float | None]]]:
    """Yield each task, and how far its gradients are from the first, by spread and processes."""
    for case in cases(folder):
        one = {batches: gradient(case, batches) for batches in case.spreads}
        found: list[float | None] = [None] * (2 * len(BATCHES) - 1)
        for place, batches in enumerate(case.spreads):
            if place:
                found[place - 1] = apart(one[batches], one[1])
            two = [folder / f"{case.name}-{batches}-{rank}.st" for rank in (0, 1)]
            if all(file.exists() for file in two):
                first, second = map(load_file, two)
                assert all(torch.equal(value, second[name]) for name, value in first.items())
                found[len(BATCHES) - 1 + place] = apart(first, one[1])
        yield case, found


def main(arguments: list[str]) -> int:
    """Compare, or do one process's part of it."""
    torch.set_num_threads(1)
    if arguments[:1] == ["--work"]:
        work(Path(arguments[1]))
        return 0
    with tempfile.TemporaryDirectory(prefix="freezeplan-gradients-") as name:
        with quiet():
            folder = Path(name)
            write_inputs(folder)
        ran = on_two_ranks("benchmarks.step_gradient", "--work", folder)
        if ran.returncode:
            print(ran.stderr)
            return 1
        ways = [f"{n} batches" for n in BATCHES[1:]] + [f"2 processes x {n}" for n in BATCHES]
        print(f"{'task':10} {'kind':22}" + "".join(f"{way:>17}" for way in ways))
        kinds, largest = set(), 0.0
        for case, found in differences(folder):
            kinds.add(case.kind.name)
            largest = max(largest, *(value for value in found if value is not None), 0.0)
            cells = "".join(f"{'-' if value is None else f'{value:.1e}':>17}" for value in found)
            print(f"{case.name:10} {case.kind.name:22}{cells}", flush=True)
    missing = sorted(TASK_KINDS.keys() - kinds)
    print(f"largest difference {largest:.1e}" + (f"; no rows for {', '.join(missing)}" if missing else ""))
    return 1 if missing or largest > ALLOWED else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
