"""Damage every file of a run's folder in ten ways, and look what ``verify``, ``predict`` and ``--resume`` make of it.

``python -m benchmarks.damage`` trains a tiny model in two phases, its frozen prefix stored in files, once to the end
and once to a stop in the middle. Then each file of both folders, those of checkpoints and of the store included, is
damaged on its own. ``verify`` must find it; ``predict`` must refuse, or answer as before; ``--resume`` (of the stopped
run) must refuse, or end with the very files of the run that was never damaged, but for an old checkpoint that a
warning names. The last line counts what did not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from freezeplan.diagnostics import DiagnosticError  # noqa: E402
from freezeplan.runs.events import Event, StepDone  # noqa: E402
from freezeplan.runs.verify import verify_run  # noqa: E402
from freezeplan.spec.tables import Spec  # noqa: E402
from freezeplan.train.predict import predict  # noqa: E402
from freezeplan.train.resume import resume  # noqa: E402
from freezeplan.train.run import train  # noqa: E402
from tests.train.phased import HEADS_ONLY, TOP, phased_spec, tree  # noqa: E402
from tests.train.tiny import save_tiny_bert, write_toy_data  # noqa: E402

TEXTS = ["great parcel", "broken till", "the awful shelf", "a lovely stamp"]
DETECTED, SAME, SAID, WRONG, CRASH = "refused", "the same", "warned", "WRONG", "CRASH"
Way = Callable[[Path, Path], None]


def _changed(path: Path, change: Callable[[bytearray], object]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


def _flip(at: Callable[[int], int]) -> Way:
    def way(path: Path, other: Path) -> None:
        def change(data: bytearray) -> None:
            data[at(len(data))] ^= 1

        _changed(path, change)

    return way


def _swap(path: Path, other: Path) -> None:
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


def _replace_by_folder(path: Path, other: Path) -> None:
    path.unlink()
    path.mkdir()


WAYS: dict[str, Way] = {
    "first byte": _flip(lambda size: 0),
    "middle byte": _flip(lambda size: size // 2),
    "last byte": _flip(lambda size: size - 1),
    "cut": lambda path, other: _changed(path, lambda data: data.__delitem__(slice(len(data) // 2, None))),
    "emptied": lambda path, other: path.write_bytes(b"") and None,
    "deleted": lambda path, other: path.unlink(),
    "appended": lambda path, other: _changed(path, lambda data: data.extend(b"\n")),
    "swapped": _swap,
    "a folder": _replace_by_folder,
    "garbage": lambda path, other: path.write_bytes(random.Random(1).randbytes(path.stat().st_size)) and None,
}


@dataclass
class Runs:
    """Hold the folders to be damaged, and what an undamaged one gives.

    ``finished`` and ``stopped`` are two runs of one spec; ``tree`` is what the second one ends as.
    """

    finished: Path
    stopped: Path
    answers: list[dict[str, object]] = field(default_factory=list)
    tree: dict[str, bytes] = field(default_factory=dict)


def spec_of(toy: Path) -> Spec:
    """Return the spec: heads, then the top layer; the prefix stored in files, the best checkpoint kept."""
    train_table = {
        "batch_size": 32,
        "store": "require",
        "store_budget": "1 B",
        "checkpoint_steps": 5,
        "keep_best": "topic/accuracy",
        "keep_last": 1,
    }
    phases = [{"name": "heads", "epochs": 2}, {"name": "top", "epochs": 1, "rule": [TOP]}]
    return phased_spec(toy, phases, rule=HEADS_ONLY, train=train_table)


def make_runs(toy: Path) -> Runs:
    """Train both runs below a folder."""
    save_tiny_bert(toy / "bert")
    write_toy_data(toy)
    spec, seen = spec_of(toy), []

    def stop(event: Event) -> None:
        if isinstance(event, StepDone):
            seen.append(event)
            if len(seen) == 17:
                raise KeyboardInterrupt

    train(spec, toy / "finished")
    train(spec, toy / "stopped", stop)
    whole = tree(toy / "finished")
    return Runs(toy / "finished", toy / "stopped", list(predict(toy / "finished", TEXTS)), whole)


def files_of(run: Path) -> list[str]:
    """Return every file of a run's folder, seen from it."""
    return sorted(item.relative_to(run).as_posix() for item in run.rglob("*") if item.is_file())


def damaged(run: Path, file: str, way: Way, place: Path) -> Path:
    """Return a copy of a run with one file damaged, under the same name beside the others."""
    copy = place / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy)
    names = files_of(copy)
    way(copy / file, copy / names[(names.index(file) + 1) % len(names)])
    return copy


def of_verify(run: Path) -> str:
    """Say whether ``verify`` finds something."""
    return _said(lambda: DETECTED if not verify_run(run).holds else WRONG)


def of_predict(run: Path, expected: list[dict[str, object]]) -> str:
    """Say whether ``predict`` refuses, answers as before, or otherwise."""
    return _said(lambda: SAME if list(predict(run, TEXTS)) == expected else WRONG)


def of_resume(run: Path, expected: dict[str, bytes]) -> str:
    """Say whether ``--resume`` refuses, or ends with the very files of the undamaged run.

    A checkpoint that is not gone on from may stay damaged, where a warning names it.
    """

    def work() -> str:
        result, found = resume(run), tree(run)
        said = [item.message for item in result.diagnostics if item.code == "FP541"]
        named = said[0].split("`")[1] if said else ""
        other = {name for name in found.keys() | expected if found.get(name) != expected.get(name)}
        # Nobody knows which tensors belong to a checkpoint whose record is gone.
        of_checkpoint = {
            name for name in other if name.startswith("weights/") or name.split("/")[1:2] == [named]
        }
        if named and other - {"run.json"} <= of_checkpoint and _weights(found) == _weights(expected):
            return SAID
        return WRONG if other else SAME

    return _said(work)


def _weights(found: dict[str, bytes]) -> dict[str, bytes | None]:
    """Return the files of the weights that a run's folder holds."""
    return {name: found.get(name) for name in json.loads(found["run.json"])["weights"]}


def _said(work: Callable[[], str]) -> str:
    try:
        return work()
    except DiagnosticError:
        return DETECTED
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no diagnostic
        return f"{CRASH} {type(error).__name__}"


def cases(
    runs: Runs, place: Path, ways: dict[str, Way], resuming: bool
) -> Iterator[tuple[str, str, str, str]]:
    """Yield, case by case: the file, the way, who was asked, and what came of it."""
    for run in (runs.finished, runs.stopped):
        expected = list(predict(run, TEXTS))
        for file in files_of(run):
            for name, way in ways.items():
                copy = damaged(run, file, way, place)
                yield f"{run.name}/{file}", name, "verify", of_verify(copy)
                yield f"{run.name}/{file}", name, "predict", of_predict(copy, expected)
                if resuming and run == runs.stopped:
                    yield f"{run.name}/{file}", name, "resume", of_resume(copy, runs.tree)


def undetected(who: str, what: str) -> bool:
    """Whether a case came out as it must not."""
    return what not in ((DETECTED,) if who == "verify" else (DETECTED, SAME, SAID))


def main(arguments: list[str] | None = None) -> int:
    """Print a line per file and the sum; returns 1 when something went undetected."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.damage", description=__doc__)
    parser.add_argument(
        "--no-resume", action="store_true", help="ask `verify` and `predict` alone: much faster"
    )
    asked = parser.parse_args(arguments)
    table: dict[tuple[str, str], Counter[str]] = {}
    count, bad = 0, []
    with tempfile.TemporaryDirectory(prefix="freezeplan-damage-") as folder:
        toy = Path(folder)
        for file, way, who, what in cases(make_runs(toy), toy, WAYS, not asked.no_resume):
            table.setdefault((file, who), Counter())[what] += 1
            count += 1
            if undetected(who, what):
                bad.append(f"{file}, {way}: {who}: {what}")
                print(bad[-1], flush=True)
    for (file, who), found in table.items():
        print(f"{file:<58} {who:<8} {', '.join(f'{number} {what}' for what, number in found.items())}")
    print(f"{count} cases, {len(bad)} undetected")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
