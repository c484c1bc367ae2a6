"""Kill runs with SIGKILL and SIGTERM at random moments, resume them, and compare with runs that were never killed.

``python -m benchmarks.kill_and_resume --kills 50`` prints each kill's place and, at the end, how many there
were and how many runs came out differently. The signals take turns. The moments are file operations in the run's
folder (those of checkpoints and of phases' ends among them), training steps and evaluations; one in four is any time.
Folders are compared byte for byte, the file of times excepted.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from freezeplan.spec.tables import Spec  # noqa: E402
from tests.train.killing import kill_and_resume  # noqa: E402
from tests.train.kinds import KINDS, write_images  # noqa: E402
from tests.train.phased import every_kind, stopping  # noqa: E402
from tests.train.streamed import half_streamed  # noqa: E402
from tests.train.targets import write_targets  # noqa: E402
from tests.train.tiny import save_tiny_bert, write_toy_data  # noqa: E402

SPECS: dict[str, Callable[..., Spec]] = {
    "alternate, all kinds of phases": partial(every_kind, mixing="alternate"),
    "joint, all kinds of phases, a checkpoint every 2 steps": partial(
        every_kind, mixing="joint", checkpoint_steps=2, keep_best="topic/accuracy"
    ),
    "alternate, stop_when, a checkpoint every 5 steps": partial(stopping, checkpoint_steps=5, keep_last=1),
    "streamed beside rows in memory, all kinds of phases": half_streamed,
    **KINDS,
}
SIGNALS = (signal.SIGKILL, signal.SIGTERM)


def main(arguments: list[str] | None = None) -> int:
    """Run the kills over all specs; returns 1 when a run came out differently."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="freezeplan-kill-") as folder:
        toy = Path(folder)
        save_tiny_bert(toy / "bert")
        write_toy_data(toy)
        write_images(toy)
        (toy / "targets").mkdir()
        write_targets(toy / "targets")
        failures = sum(_run(toy, index, options) for index in range(len(SPECS)))
    print(f"{options.kills} kills over {len(SPECS)} specs, {failures} failures")
    return 1 if failures else 0


def _run(toy: Path, index: int, options: argparse.Namespace) -> int:
    name, make = list(SPECS.items())[index]
    kills = options.kills // len(SPECS) + (index < options.kills % len(SPECS))
    place = toy / f"spec{index}"
    place.mkdir()
    try:
        moments = kill_and_resume(make, {"toy": toy}, place, kills, options.seed + index, SIGNALS)
    except AssertionError as error:
        print(f"{name}: FAILED: {error}", flush=True)
        return 1
    print(f"{name}: killed at {', '.join(moments)}: all files equal", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
