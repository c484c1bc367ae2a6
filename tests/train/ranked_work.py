"""What one process of a run does under torchrun: ``python -m tests.train.ranked_work WHAT SPEC OUT [MOMENT]``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from freezeplan.apply.tensors import all_tensors, own_copy
from freezeplan.cli import main
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.runs.events import ignore_events
from freezeplan.runs.run_folder import RunFolder
from freezeplan.spec.reading import load_spec
from freezeplan.train.loop import Loop
from freezeplan.train.session import Session
from freezeplan.train.setup import prepare
from tests.train.killing import work as begin_or_go_on

RANK = os.environ.get("RANK", "0")


def train_and_keep(spec: Path, out: Path) -> None:
    """Train, and keep this process's own tensors beside the folder."""
    setup = prepare(load_spec(spec))
    Session(setup, RunFolder(out), ignore_events).run()
    tensors = {name: own_copy(tensor) for name, tensor in all_tensors(setup.model).items()}
    save_file(tensors, f"{out}-{RANK}.safetensors")


def train_until_killed(spec: Path, out: Path, kill_at: int) -> None:
    """Begin or go on; kill the first process at one of its moments (0: at none), and then this one."""
    try:
        moment = kill_at if RANK == "0" else 0
        begin_or_go_on(load_spec, {"source": spec}, out, moment, signal.SIGKILL, Report(out))
    except DiagnosticError:
        os.kill(os.getpid(), signal.SIGKILL)


class Report:
    """Write down how many moments the first process had."""

    def __init__(self, out: Path) -> None:
        self.path = Path(f"{out}.moments")

    def send(self, found: tuple[str, int]) -> None:
        """Note the number."""
        if RANK == "0":
            self.path.write_text(str(found[1]))


def train_with(act: Callable[[Loop], None]) -> Callable[[Path, Path], None]:
    """Return what runs the command, and does something after the third step."""

    def run(spec: Path, out: Path) -> None:
        step = Loop._step

        def acting(loop: Loop, parts: tuple) -> dict[str, torch.Tensor]:
            losses = step(loop, parts)
            if loop.position.step == 2:
                act(loop)
            return losses

        Loop._step = acting
        main(["train", str(spec), "--out", str(out)])

    return run


def fail(loop: Loop) -> None:
    """Let one process meet an error that the other does not."""
    if RANK == "1":
        raise DiagnosticError([diagnostic("FP504", "the device of one process ran out of memory")])


def stray(loop: Loop) -> None:
    """Change the last bit of a weight of one process."""
    if RANK == "1":
        with torch.no_grad():
            weight = loop.ever_trained[0].view(-1)
            weight[0] = torch.nextafter(weight[0], torch.tensor(9.0))


def interrupt(loop: Loop) -> None:
    """Press Ctrl-C: the launcher gets the signal and passes it on."""
    if RANK == "0":
        os.kill(os.getppid(), signal.SIGINT)


def terminate(loop: Loop) -> None:
    """End the launcher politely, as a cluster does."""
    if RANK == "0":
        os.kill(os.getppid(), signal.SIGTERM)


WHAT: dict[str, Callable[[Path, Path], None]] = {
    "keep": train_and_keep,
    **{act.__name__: train_with(act) for act in (fail, stray, interrupt, terminate)},
}

if __name__ == "__main__":
    what, spec, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if what == "kill":
        train_until_killed(spec, out, int(sys.argv[4]))
    else:
        WHAT[what](spec, out)
