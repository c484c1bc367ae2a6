"""Gradient checkpointing of transformers on a model under a plan: what frozen layers may go on doing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from freezeplan.inventory.names import is_a

if TYPE_CHECKING:
    import torch


class EvalInside:
    """Run what a layer checkpoints in eval mode: at first, and when the backward pass runs it again."""

    def __init__(self, layer: torch.nn.Module, checkpoint: Callable[..., Any]) -> None:
        self.layer = layer
        self.checkpoint = checkpoint

    def __call__(self, run: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        """Checkpoint a function as the library would."""
        return self.checkpoint(partial(_in_eval_mode, self.layer, run), *arguments, **more)


def _in_eval_mode(layer: torch.nn.Module, run: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    before, layer.training = layer.training, False
    try:
        return run(*arguments, **more)
    finally:
        layer.training = before


def open_gate(layer: torch.nn.Module) -> tuple[Any, ...]:
    """Let a layer in eval mode checkpoint as one in training mode does; returns the handles of two hooks.

    transformers checkpoints a layer only while ``layer.training`` is set. From the beginning of its forward until
    the checkpointed part begins it is; inside it is not, so no dropout runs. A layer without checkpointing gets none.
    """
    if not checkpoints(layer):
        return ()
    return (
        layer.register_forward_pre_hook(_enter),
        layer.register_forward_hook(_leave, always_call=True),
    )


def checkpoints(module: Any) -> bool:
    """Whether a module is a layer of transformers that checkpoints its own forward."""
    return is_a(module, "GradientCheckpointingLayer") and bool(module.gradient_checkpointing)


def _enter(layer: Any, arguments: Any) -> None:
    if checkpoints(layer):
        layer._gradient_checkpointing_func = EvalInside(layer, layer._gradient_checkpointing_func)
        layer.training = True


def _leave(layer: Any, arguments: Any, output: Any) -> None:
    layer.training = False
    inside = getattr(layer, "_gradient_checkpointing_func", None)
    if isinstance(inside, EvalInside):
        layer._gradient_checkpointing_func = inside.checkpoint


class InputGradients:
    """Stand in for ``enable_input_require_grads`` of a model: its hooks are off while they only cost.

    Trainer, TRL and PEFT ask for the hooks with checkpointing, because layers under reentrant checkpointing pass no
    gradient on otherwise. Under any other, behind frozen embeddings, they make the backward pass go through every
    frozen layer for nothing. What was asked for is remembered, and done in a phase that needs it.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.asked = has_input_gradients(model)
        self.frozen_below = False

    def enable(self) -> None:
        """Do what the model's own method does, or remember it."""
        self.asked = True
        self._settle()

    def disable(self) -> None:
        """Take the hooks off, and forget them."""
        self.asked = False
        self._settle()

    def enter(self, *, frozen_below: bool) -> None:
        """Have the hooks as a phase needs them; ``frozen_below``: its embeddings are frozen."""
        self.frozen_below = frozen_below
        self._settle()

    def _settle(self) -> None:
        wanted = self.asked and not (self.frozen_below and _never_needs_them(self.model))
        if wanted and not has_input_gradients(self.model):
            type(self.model).enable_input_require_grads(self.model)
        elif not wanted and has_input_gradients(self.model):
            type(self.model).disable_input_require_grads(self.model)


def has_input_gradients(model: Any) -> bool:
    """Whether a model has been asked to let its embeddings' outputs need a gradient, under either of the two names."""
    return bool(getattr(model, "_require_grads_hooks", None) or getattr(model, "_require_grads_hook", None))


def _never_needs_them(model: torch.nn.Module) -> bool:
    """Whether there is checkpointing, and all of it is known not to be reentrant."""
    functions = list(_functions(model))
    return bool(functions) and all(
        isinstance(function, partial) and function.keywords.get("use_reentrant") is False
        for function in functions
    )


def _functions(model: torch.nn.Module) -> Iterator[Any]:
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", False):
            yield getattr(module, "_gradient_checkpointing_func", None)
        elif is_a(module, "CheckpointWrapper"):
            yield module.checkpoint_fn


def hold_input_gradients(model: torch.nn.Module) -> None:
    """Take over the input-gradient hooks of a model of transformers, for the gradients that it has now."""
    for module in model.modules():
        if not hasattr(type(module), "disable_input_require_grads"):
            continue
        held = held_by(module)
        if held is None:
            held = InputGradients(module)
            module.__dict__["enable_input_require_grads"] = held.enable
            module.__dict__["disable_input_require_grads"] = held.disable
        held.enter(frozen_below=_embeddings_are_frozen(module))


def held_by(module: torch.nn.Module) -> InputGradients | None:
    """Return what stands in for a module's own method, None where nothing does."""
    owner = getattr(module.__dict__.get("enable_input_require_grads"), "__self__", None)
    return owner if isinstance(owner, InputGradients) else None


def let_go_of_input_gradients(model: torch.nn.Module) -> None:
    """Give models of transformers their own methods back, with the hooks that were asked for."""
    for module in model.modules():
        held = held_by(module)
        if held is not None:
            held.enter(frozen_below=False)
            del module.__dict__["enable_input_require_grads"], module.__dict__["disable_input_require_grads"]


def _embeddings_are_frozen(model: Any) -> bool:
    try:
        embeddings = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        return False
    return embeddings is not None and not any(tensor.requires_grad for tensor in embeddings.parameters())
