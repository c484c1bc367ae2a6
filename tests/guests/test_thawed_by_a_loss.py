"""A loss that thaws what the plan holds frozen, as all of an adapter is trainable behind PEFT's `disable_adapter()`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer

from freezeplan.guests.transformers import trainer_guest
from tests.apply.phased import phase
from tests.guests.trainers import bert_plan, copies, rows, settings, tiny_classifier


class Thawing(Trainer):
    """Look at a reference model behind each forward, which leaves everything trainable."""

    thaws = True

    def compute_loss(self, model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
        """Return the loss, and thaw."""
        loss = super().compute_loss(model, inputs, *rest, **more)
        if self.thaws:
            model.requires_grad_(True)
        return loss


class Plain(Thawing):
    """The same without a reference."""

    thaws = False


def trained(kind: type[Thawing], folder: Path, accumulation: int) -> dict[str, torch.Tensor]:
    """Return all tensors after two steps of the head, whose gradients are clipped by their norm."""
    model = tiny_classifier()
    guest = trainer_guest(model, bert_plan(model, phase("head", steps=2)))
    arguments = settings(folder, 2, max_grad_norm=0.01, gradient_accumulation_steps=accumulation)
    kind(
        model,
        arguments,
        train_dataset=rows(),
        optimizers=guest.optimizers,
        callbacks=[guest.callback],
    ).train()
    return copies(model)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_what_a_loss_thaws_is_frozen_again_for_the_next_batch(accumulation: int, tmp_path: Path) -> None:
    alone, thawed = (trained(kind, tmp_path, accumulation) for kind in (Plain, Thawing))
    assert all(torch.equal(value, alone[name]) for name, value in thawed.items())
