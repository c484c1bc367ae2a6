"""Runs of each host on two processes: one that is left alone, and one that is killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.train.phased import phased_spec, tree
from tests.train.ranked import PHASES, ROOT, TORCHRUN, environment, write_spec
from tests.train.tiny import save_tiny_bert, write_toy_data

Check = tuple[str, bool]
PATIENCE = 400.0
"""Seconds that a run of a few steps may take, on a machine that does other things."""
AT = 5
"""The step to resume from, in the second phase: within an epoch, which a plain loader of Lightning starts over."""
AT_EPOCH = 6


def on_two_processes(host: str, folder: Path) -> Iterator[Check]:
    """Check a host's runs on two processes."""
    yield from WAYS[host](folder)


def _guest(module: str, launcher: Sequence[str], mark: str, at: int) -> Callable[[Path], Iterator[Check]]:
    """Return the checks of a guest whose processes are a module of the tests that takes a folder and cases."""

    def checks(folder: Path) -> Iterator[Check]:
        whole, killed = folder / "whole", folder / "killed"
        for place in (whole, killed):
            place.mkdir()
        command = [*launcher, "-m", module]
        _run([*command, str(whole), "whole"])
        _kill([*command, str(killed), "whole"], killed / mark.format(at + 1))
        _run([*command, str(killed), f"resumed {at}"])
        found = [_found(whole, "whole", rank) for rank in (0, 1)]
        for index, planned in enumerate(found[0]["planned"]):
            yield f"phase {index + 1} moves what it trains", found[0]["moved"][index] == planned
        yield "both processes are equal", found[0] == found[1]
        for rank in (0, 1):
            again = _found(killed, f"resumed {at}", rank)
            yield f"process {rank}, killed and resumed", again["hashes"] == found[rank]["hashes"]

    return checks


def _ours(folder: Path) -> Iterator[Check]:
    """Return the checks of our own trainer, whose whole folders are compared."""
    save_tiny_bert(folder / "bert")
    write_toy_data(folder)
    spec = write_spec(
        phased_spec(folder, PHASES, train={"batch_size": 32, "checkpoint_steps": 1}), folder / "a.toml"
    )
    command = [*TORCHRUN, "-m", "freezeplan", "train"]
    _run([*command, str(spec), "--out", str(folder / "whole")])
    killed = folder / "killed"
    _kill([*command, str(spec), "--out", str(killed)], killed / "checkpoints" / f"step-{AT + 1:08}")
    _run([*command, "--resume", str(killed)])
    evidence = json.loads((folder / "whole" / "evidence.json").read_text("utf-8"))
    for phase in evidence["phases"]:
        yield f"phase `{phase['phase']}`: what is frozen stayed, what trains moved", _holds(phase)
    one, other = tree(folder / "whole"), tree(killed)
    for name in sorted({**one, **other}):
        yield f"`{name}`, killed and resumed", one.get(name) == other.get(name)


def _holds(phase: dict[str, Any]) -> bool:
    return not phase["violations"] and not phase["unmoved"]


def _found(folder: Path, case: str, rank: int) -> dict[str, Any]:
    return json.loads((folder / f"{case}.{rank}.json").read_text("utf-8"))


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment(PYTHONPATH=str(ROOT)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _run(command: Sequence[str]) -> None:
    process = _start(command)
    _, said = process.communicate(timeout=PATIENCE)
    if process.returncode:
        raise RuntimeError(said.decode()[-3000:])


def _kill(command: Sequence[str], mark: Path) -> None:
    """Kill a run and all its processes once a file or folder is there."""
    process, began = _start(command), time.monotonic()
    try:
        while not mark.exists():
            if process.poll() is not None or time.monotonic() - began > PATIENCE:
                raise RuntimeError(f"`{mark.name}` never came")
            time.sleep(0.02)
    finally:
        # A launcher's processes have sessions of their own, and outlive it.
        for started in (*psutil.Process(process.pid).children(recursive=True), process):
            os.kill(started.pid, signal.SIGKILL)
        process.wait()


WAYS: dict[str, Callable[[Path], Iterator[Check]]] = {
    "freezeplan train": _ours,
    "transformers' Trainer": _guest("tests.guests.trainer_ranks", TORCHRUN, "checkpoint-{}", AT),
    "Lightning's Trainer": _guest("tests.guests.lightning_ranks", (), "step={}.ckpt", AT_EPOCH),
}
