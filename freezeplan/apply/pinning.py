"""Eval mode that lasts: training loops call ``model.train()`` at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class PinnedEval:
    """Stand in for a module's ``train`` method: whatever is asked, the module stays in eval mode.

    Its children are asked for themselves: frozen ones are pinned too, and one that also has a place in a
    trainable module follows what is asked. An object rather than a closure, so that a model with pinned
    modules can be copied and pickled.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module

    def __call__(self, mode: bool = True) -> Any:
        """Set eval mode here and pass the mode on below; returns the module, as ``train`` does."""
        self.module.training = False
        for child in self.module.children():
            child.train(mode)
        return self.module


def pin_eval_mode(module: torch.nn.Module) -> None:
    """Put a module into eval mode for good: ``train()`` on it or on any parent no longer changes it."""
    module.__dict__["train"] = PinnedEval(module)
    module.training = False


def unpin_eval_mode(module: torch.nn.Module) -> None:
    """Let ``train()`` reach a module again."""
    module.__dict__.pop("train", None)
