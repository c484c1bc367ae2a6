"""What a model is fed on fake tensors: batches of texts or images of the sizes that training would use."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import counted
from freezeplan.models.positions import LONGEST, most_positions
from freezeplan.spec.tables import Spec

PIXELS = 224
COLOURS = 3


@dataclass(frozen=True)
class Inputs:
    """Make batches for one model: ``length`` tokens per text, or ``image`` (channels, height, width).

    ``names`` are the tensors of numbers (``batch``, ``length``) that the model takes; ``words`` say what one
    row is.
    """

    names: tuple[str, ...]
    length: int | None
    image: tuple[int, int, int] | None
    words: str

    def batch(self, rows: int) -> dict[str, torch.Tensor]:
        """Return the tensors of a batch; to be called where fake tensors are made."""
        if self.image is not None:
            return {"pixel_values": torch.empty(rows, *self.image)}
        return {name: torch.ones(rows, self.length or 1, dtype=torch.int64) for name in self.names}


def inputs_for(model: nn.Module, spec: Spec, length: int | None = None, usual: int = LONGEST) -> Inputs:
    """Return what a model (of a spec without tasks) or a backbone reads, and how large it is.

    ``length`` is in tokens; by default it is the spec's ``max_length``, else what the model takes, at most ``usual``.
    Raises ``DiagnosticError``: FP480 where the model reads neither texts nor images, FP481 for a length that is
    not possible.
    """
    reads = getattr(model, "main_input_name", None)
    if reads is None:
        message = f"`{type(model).__name__}` does not say what it reads, as models of transformers do"
        raise DiagnosticError([diagnostic("FP480", message)])
    if reads == "pixel_values":
        return _images(model, length)
    if reads != "input_ids":
        message = f"`{type(model).__name__}` reads `{reads}`: neither texts nor images"
        raise DiagnosticError([diagnostic("FP480", message)])
    return _texts(model, spec, length, usual)


def _texts(model: nn.Module, spec: Spec, length: int | None, usual: int) -> Inputs:
    limit = most_positions(model)
    chosen = length or spec.train.max_length or min(usual, limit)
    if chosen > limit:
        message = f"texts of {counted(chosen, 'token')} are longer than the model takes"
        advice = f"the model takes {counted(limit, 'token')} at most"
        raise DiagnosticError([diagnostic("FP481", message, where="length", help=advice)])
    taken = inspect.signature(model.forward).parameters
    names = ["input_ids", "attention_mask"]
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        names.append("decoder_input_ids")
    return Inputs(tuple(n for n in names if n in taken), chosen, None, f"texts of {counted(chosen, 'token')}")


def _images(model: nn.Module, length: int | None) -> Inputs:
    if length is not None:
        message = f"`{type(model).__name__}` reads images, which have no length in tokens"
        raise DiagnosticError([diagnostic("FP481", message, where="length", help="leave the length out")])
    config = getattr(model, "config", None)
    size = getattr(config, "image_size", None) or PIXELS
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    channels = getattr(config, "num_channels", None) or COLOURS
    return Inputs((), None, (channels, height, width), f"images of {channels} x {height} x {width}")


def first_floats(output: Any) -> torch.Tensor | None:
    """Return the first tensor of floating-point numbers in a model's output, None where there is none.

    >>> first_floats({"ids": torch.ones(1, dtype=torch.int64), "logits": torch.zeros(2)})
    tensor([0., 0.])
    """
    if isinstance(output, torch.Tensor):
        return output if output.is_floating_point() else None
    values = (
        output.values() if isinstance(output, dict) else output if isinstance(output, (list, tuple)) else ()
    )
    return next((found for value in values if (found := first_floats(value)) is not None), None)
