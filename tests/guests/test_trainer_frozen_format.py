"""A plan whose frozen weights rest in half the space, as a guest in a stock Trainer."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from freezeplan.apply.formats import computes_in
from tests.apply.phased import phase, thaws
from tests.guests.trainers import EPOCH, copies, joined, tiny_classifier

TABLES = {"model": {"frozen_dtype": "bfloat16"}}
PHASES = (phase("head", epochs=1, steps=None), phase("top", thaws("@layers[-1:]", lr_mult=0.5), steps=4))


def test_a_trainer_keeps_what_never_trains_in_half_the_space_and_resumes_to_the_same_bits(
    tmp_path: Path,
) -> None:
    whole = tiny_classifier()
    before = copies(whole)
    more = {"save_strategy": "steps", "save_steps": EPOCH + 1}
    guest, trainer = joined(whole, tmp_path, *PHASES, tables=TABLES, **more)
    trainer.train()
    resting = {name for name, item in whole.named_parameters() if computes_in(item) is not None}
    assert resting == set(guest.callback.plan.at_rest)
    after = copies(whole)
    assert all(torch.equal(after[name], before[name].bfloat16()) for name in resting)
    assert all(after[name].dtype == torch.float32 for name in guest.callback.plan.ever_trained)
    saved = load_file(tmp_path / f"checkpoint-{EPOCH + 1}" / "model.safetensors")
    assert {saved[name].dtype for name in resting} == {torch.bfloat16}
    resumed = tiny_classifier()
    _, trainer = joined(resumed, tmp_path, *PHASES, tables=TABLES)
    trainer.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{EPOCH + 1}"))
    assert {name for name, item in copies(resumed).items() if not torch.equal(item, after[name])} == set()
