"""One of several processes in which a plan is a guest of a Trainer: what it runs, and what it prints.

Started as ``python -m torch.distributed.run … -m tests.guests.trainer_ranks FOLDER CASE``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from freezeplan.api import compile_plan
from freezeplan.apply.fingerprints import fingerprints
from freezeplan.diagnostics import DiagnosticError
from freezeplan.guests.transformers import trainer_guest
from tests.guests.trainers import BATCH, ROWS, Watcher, bert_plan, stock_trainer, tiny_classifier

EPOCH = ROWS // BATCH // 2
"""Steps in one pass over the rows on two processes."""


def trained(folder: Path, resume: str | None = None, **more: Any) -> dict[str, Any]:
    """Train on this process; returns the hash of each tensor and, of a whole run, what moved in each phase."""
    model, watcher = tiny_classifier(), Watcher()
    guest = trainer_guest(model, bert_plan(model))
    trainer = stock_trainer(
        guest, model, folder, callbacks=(watcher,), max_steps=guest.max_steps(EPOCH), **more
    )
    trainer.train(resume_from_checkpoint=resume)
    if resume:
        return {"hashes": fingerprints(model).everything}
    plan = guest.callback.plan
    ends = [0]
    for steps in guest.callback.driver.timetable.phase_steps:
        ends.append(ends[-1] + steps)
    moved = [sorted(watcher.moved(model, first, last)) for first, last in zip(ends, ends[1:], strict=False)]
    planned = [sorted(plan.names(index, trainable=True)) for index in range(len(plan.phases))]
    return {"hashes": fingerprints(model).everything, "moved": moved, "planned": planned}


class LossWithWeights(torch.nn.Module):
    """A model in a module that has a weight of its own."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self.scale = torch.nn.Parameter(torch.ones(()))


def beside(folder: Path) -> dict[str, Any]:
    """Bring a plan for a loss with weights of its own into a Trainer."""
    loss = LossWithWeights(tiny_classifier())
    guest = trainer_guest(loss, compile_plan(loss, {"rule": [{"match": "**", "state": "trainable"}]}))
    stock_trainer(guest, loss.model, folder, max_steps=3 * EPOCH).train()
    return {}


def waiting_for_all(folder: Path) -> dict[str, Any]:
    """Train phases in a wrapper that expects the gradient of every tensor."""
    return trained(folder, ddp_find_unused_parameters=False)


CASES = {
    "whole": lambda folder: trained(folder, save_strategy="steps", save_steps=1),
    **{
        f"resumed {step}": lambda folder, step=step: trained(folder, str(folder / f"checkpoint-{step}"))
        for step in (2, 5)
    },
    "beside": beside,
    "waiting for all": waiting_for_all,
}


def main(folder: Path, cases: list[str]) -> None:
    """Run cases one after the other, and write what came of each to a file of this process."""
    for case in cases:
        try:
            found = CASES[case](folder)
        except DiagnosticError as error:
            found = {"refused": [[item.code, item.message] for item in error.diagnostics]}
        path = folder / f"{case}.{torch.distributed.get_rank()}.json"
        path.write_text(json.dumps(found), "utf-8")
    # Left open, its threads may end the process by SIGABRT on its way out.
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
