"""Layers that keep only their inputs for the backward pass, and run again in it: gradient checkpointing, by phase."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.names import is_a
from freezeplan.spec.locations import at_key

if TYPE_CHECKING:
    import torch

LAYER = "GradientCheckpointingLayer"


def checkpointing_layers(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Return the layers of a model that transformers can run again in the backward pass, in their order."""
    return [module for module in model.modules() if is_a(module, LAYER)]


def check_layers(model: torch.nn.Module) -> None:
    """Raise ``DiagnosticError`` (FP488) for a model without a layer that can run again."""
    if not checkpointing_layers(model):
        message = f"no layer of `{type(model).__name__}` can run again in the backward pass"
        advice = "remove it; smaller batches, more of them per step (`accumulation`), take less memory too"
        raise DiagnosticError([at_key(("train", "gradient_checkpointing"), "FP488", message, help=advice)])


def checkpoint_above(model: torch.nn.Module, *, random: bool = True) -> list[torch.nn.Module]:
    """Let the layers run again in the backward pass that a gradient reaches, and no others; returns them.

    These are the layers that hold a trainable tensor, and those after one. Gradients are the same bits as without:
    dropout draws the same numbers again, unless ``random`` is False (for a look at sizes alone). The mechanism is that
    of transformers' layers, never reentrant. Call it after each change of what trains, between two steps.

    Source: Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016 (https://arxiv.org/abs/1604.06174).
    """
    from torch.utils.checkpoint import checkpoint

    function = partial(checkpoint, use_reentrant=False, preserve_rng_state=random)
    places = {id(tensor): place for place, tensor in enumerate(model.parameters())}
    first = min((places[id(item)] for item in model.parameters() if item.requires_grad), default=len(places))
    chosen = []
    for layer in checkpointing_layers(model):
        above = max((places[id(item)] for item in layer.parameters()), default=-1) >= first
        layer.gradient_checkpointing = above
        layer._gradient_checkpointing_func = function
        chosen += [layer] if above else []
    # What holds layers gives them caches to write to, unless it knows that they run again.
    for module in model.modules():
        if hasattr(module, "gradient_checkpointing") and not is_a(module, LAYER):
            module.gradient_checkpointing = bool(chosen)
    # Layers that are held in eval mode open a gate for it when their model is put into training mode.
    model.train()
    return chosen
