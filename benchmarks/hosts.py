"""Run what a plan may ask for in each of its hosts, and count what comes out otherwise than the plan says.

``python -m benchmarks.hosts`` prints, for each host and feature, its checks and how many were wrong; ``--host`` and
``--feature`` choose, ``--write`` keeps them for the page on scaling. Hosts whose package is missing are said.

- accumulation: two batches per step as one: in each phase exactly what it trains moves, at the same rates;
- resuming: before, at and behind each boundary of phases, and after the end: the same bits as without;
- best epoch: its weights begin the next phase, also where the run was resumed around that boundary;
- early stopping: by patience, by a target and at the most epochs, after the step that the values say;
- two processes: three thaws and a freeze under torchrun or DDP: what moves, equal on both, and after SIGKILL and a
  resume the same bits.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch  # noqa: E402

from benchmarks.hosted import EPOCH, HOSTS, LAST, Asked, Course, Host, Tensors  # noqa: E402
from benchmarks.hosts_on_two import on_two_processes  # noqa: E402

RESULTS = Path(__file__).with_suffix(".json")
Check = tuple[str, bool]
Results = dict[str, dict[str, int]]
WAITS = {"patience": 1, "max_epochs": 3, "restore_best": True}
VALUES = (0.6, 0.5, 0.1, 0.1)
ENDINGS = (
    ({"patience": 2, "max_epochs": 4}, (0.6, 0.5, 0.5, 0.9), 3),
    ({"target": 0.7, "max_epochs": 4}, (0.5, 0.8, 0.9, 0.9), 2),
    ({"patience": 2, "max_epochs": 3}, (0.1, 0.2, 0.3, 0.4), 3),
)


def main(arguments: list[str] | None = None) -> int:
    """Run the cells that are asked for, all by default; returns 1 when one of them was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--host", choices=[host.package for host in HOSTS], help="of one host, by its package"
    )
    parser.add_argument("--feature", choices=list(FEATURES), help="of one feature")
    parser.add_argument("--write", action="store_true", help="keep them for the page on scaling")
    options = parser.parse_args(arguments)
    asked = [name for name in FEATURES if options.feature in (None, name)]
    results = {host.name: _row(host, asked) for host in HOSTS if options.host in (None, host.package)}
    wrong = sum(cell["wrong"] for row in results.values() for cell in row.values())
    print(f"{wrong} wrong")
    if options.write:
        _keep(results)
    return 1 if wrong else 0


def _row(host: Host, features: list[str]) -> Results:
    if not host.installed:
        print(f"{host.name}: `{host.package}` is not installed")
        return {}
    return {feature: _cell(host, feature, FEATURES[feature]) for feature in features}


def _keep(results: dict[str, Results]) -> None:
    """Put cells in the place of those that are kept, in the order of hosts and features."""
    kept = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    cells = {host.name: {**kept.get(host.name, {}), **results.get(host.name, {})} for host in HOSTS}
    ordered = {name: {key: row[key] for key in FEATURES if key in row} for name, row in cells.items()}
    RESULTS.write_text(json.dumps(ordered, indent=1) + "\n", "utf-8")


def _cell(host: Host, feature: str, checks: Callable[[Host, Path], Iterator[Check]]) -> dict[str, int]:
    began = time.process_time()
    with tempfile.TemporaryDirectory(prefix="freezeplan-hosts-") as folder:
        found = list(checks(host, Path(folder)))
    wrong = [name for name, holds in found if not holds]
    seconds = time.process_time() - began
    print(f"{host.name}, {feature}: {len(found)} checks, {len(wrong)} wrong ({seconds:.0f} s)", flush=True)
    for name in wrong:
        print(f"  wrong: {name}")
    return {"checks": len(found), "wrong": len(wrong)}


def same(one: Tensors, other: Tensors) -> bool:
    """Whether two runs ended with the same bits."""
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def ends_of(host: Host) -> list[int]:
    """Return the steps at which the phases of fixed lengths begin and end."""
    return [0, *accumulate(host.lengths)]


def accumulation(host: Host, folder: Path) -> Iterator[Check]:
    """Check what moves and the rates, with one batch per step and with two."""
    courses = []
    for count in (1, 2):
        course = host.run(Asked(folder / str(count), accumulation=count))
        courses.append(course)
        yield f"{count} batches: {course.steps} steps", course.steps == ends_of(host)[-1]
        yield from _moved(host, course)
    yield "the same rates", courses[0].rates == courses[1].rates


def _moved(host: Host, course: Course) -> Iterator[Check]:
    for index, (begin, end) in enumerate(pairwise(ends_of(host))):
        planned = set(course.plan.names(index, trainable=True))
        yield f"phase {index + 1} moves what it trains", course.moved(begin, end) == planned


def resuming(host: Host, folder: Path) -> Iterator[Check]:
    """Resume around each boundary of phases."""
    ends = ends_of(host)
    whole = host.run(Asked(folder))
    around = sorted({step for end in ends[1:] for step in (end - 1, end, end + 1) if step <= ends[-1]})
    for step in around:
        again = host.run(Asked(folder, resume=step))
        yield f"resumed at step {step}", again.steps == whole.steps and same(again.end, whole.end)


def best_epoch(host: Host, folder: Path) -> Iterator[Check]:
    """Check that the best epoch comes back, also in runs that are resumed around the boundary."""
    asked = {"until": {**host.metric, **WAITS}, "values": VALUES}
    whole = host.run(Asked(folder, **asked))
    yield "the phase ended", whole.steps == 2 * EPOCH + LAST
    yield "the best epoch came back", whole.moved(EPOCH, 2 * EPOCH) == set()
    yield "and was not the last", whole.moved(2 * EPOCH - 1, 2 * EPOCH) != set()
    for step in (EPOCH - 1, EPOCH, EPOCH + 1, 2 * EPOCH - 1, 2 * EPOCH, 2 * EPOCH + 1):
        again = host.run(Asked(folder, resume=step, **asked))
        yield f"resumed at step {step}", same(again.end, whole.end)


def early_stopping(host: Host, folder: Path) -> Iterator[Check]:
    """Check after how many epochs a phase ends."""
    for place, (until, values, epochs) in enumerate(ENDINGS):
        asked = Asked(folder / str(place), until={**host.metric, **until}, values=values)
        steps = host.run(asked).steps
        yield f"{until} after {values}: {steps} steps", steps == epochs * EPOCH + LAST


def two_processes(host: Host, folder: Path) -> Iterator[Check]:
    """Check a run on two processes, and one that is killed and resumed."""
    yield from on_two_processes(host.name, folder)


FEATURES: dict[str, Callable[[Host, Path], Iterator[Check]]] = {
    "accumulation": accumulation,
    "resuming": resuming,
    "best epoch": best_epoch,
    "early stopping": early_stopping,
    "two processes": two_processes,
}


if __name__ == "__main__":
    sys.exit(main())
