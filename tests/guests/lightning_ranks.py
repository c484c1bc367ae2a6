"""Two processes of Lightning's DDP with a plan as their guest; a command that takes a folder."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from freezeplan.apply.fingerprints import fingerprints
from freezeplan.diagnostics import DiagnosticError
from tests.apply.phased import phase, thaws
from tests.guests.lightning_modules import Module, each_step, joined, loader

FOLLOWS, EXPECTS_ALL = "ddp_find_unused_parameters_true", "ddp"
UNTIL = {"metric": "topic/accuracy", "target": 0.7, "max_epochs": 4}


def trained(folder: Path, resume: str | None = None, strategy: str = FOLLOWS) -> dict[str, Any]:
    """Train on this process; returns the hash of each tensor and, of a whole run, what moved in each phase."""
    module, trainer, plan = joined(
        folder, strategy=strategy, devices=2, enable_checkpointing=True, callbacks=[each_step(folder)]
    )
    trainer.fit(module, loader(), ckpt_path=resume)
    found = {"hashes": fingerprints(module).parameters}
    return found if resume else found | steps(module, plan)


def steps(module: Module, plan: Any) -> dict[str, Any]:
    """Return what moved in each phase, and what the plan says."""
    ends = [0]
    for count in module.guest.driver.timetable.phase_steps:
        ends.append(ends[-1] + count)
    moved = [sorted(module.moved(first, last)) for first, last in pairwise(ends)]
    return {
        "moved": moved,
        "planned": [sorted(plan.names(i, trainable=True)) for i in range(len(plan.phases))],
    }


def apart(folder: Path) -> dict[str, Any]:
    """End a phase by a metric that each process computes for itself."""
    waits = phase("wait", steps=None) | {"until": UNTIL}
    module, trainer, _ = joined(
        folder, waits, phase("all", thaws("body.**"), steps=2), scores=[0.1, 0.2], strategy=FOLLOWS, devices=2
    )
    module.alike = False
    trainer.fit(module, loader(), loader(8))
    return {}


def write(folder: Path, case: str, found: dict[str, Any]) -> None:
    """Write what a case gave to a file of this process."""
    from torch import distributed

    rank = distributed.get_rank() if distributed.is_initialized() else 0
    (folder / f"{case}.{rank}.json").write_text(json.dumps(found), "utf-8")


def cases(folder: Path) -> dict[str, Any]:
    """Return each case by its name; ``resumed N`` is of the checkpoint after N steps."""
    return {
        "whole": lambda: trained(folder),
        **{
            f"resumed {step}": lambda step=step: trained(folder, str(folder / f"step={step}.ckpt"))
            for step in (3, 6)
        },
        "deaf": lambda: trained(folder, strategy=EXPECTS_ALL),
        "apart": lambda: apart(folder),
    }


def main(folder: Path, names: list[str]) -> None:
    """Run cases one after the other."""
    for case in names:
        try:
            found = cases(folder)[case]()
        except DiagnosticError as error:
            found = {"refused": str(error)}
        write(folder, case, found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ["whole", "resumed 3", "deaf", "apart"])
