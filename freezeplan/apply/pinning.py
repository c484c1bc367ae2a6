"""Eval mode that lasts: training loops call ``model.train()`` at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freezeplan.apply.checkpointing import open_gate

if TYPE_CHECKING:
    import torch


class PinnedEval:
    """Stand in for a module's ``train`` method: whatever is asked, the module stays in eval mode.

    A ``train`` method of the module's own class is called with False, for what it prepares for eval mode. The
    children are asked for themselves: frozen ones are pinned too, and one that also has a place in a trainable
    module follows what is asked. An object rather than a closure, so that a model with pinned
    modules can be copied and pickled.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self.gate: tuple[Any, ...] = ()

    def __call__(self, mode: bool = True) -> Any:
        """Set eval mode here and pass the mode on below; returns the module, as ``train`` does."""
        if not _is_torchs(type(self.module).train):
            type(self.module).train(self.module, False)
        self.module.training = False
        self.set_gate(live=mode)
        for child in self.module.children():
            child.train(mode)
        return self.module

    def set_gate(self, *, live: bool) -> None:
        """Let the module checkpoint while its model trains, if it does so at all, and not otherwise."""
        for handle in self.gate:
            handle.remove()
        self.gate = open_gate(self.module) if live else ()


def _is_torchs(method: Any) -> bool:
    return method.__module__ == "torch.nn.modules.module"


def pin_eval_mode(module: torch.nn.Module) -> None:
    """Put a module in training mode into eval mode for good: ``train()`` on it or on any parent does not change it.

    Its children stay in training mode, as far as they are not pinned.
    """
    module.__dict__["train"] = pinned = PinnedEval(module)
    pinned.set_gate(live=module.training)
    if _is_torchs(type(module).train):
        module.training = False
    else:
        module.train()


def is_pinned(module: torch.nn.Module) -> bool:
    """Whether a module is held in eval mode."""
    return isinstance(module.__dict__.get("train"), PinnedEval)


def unpin_eval_mode(module: torch.nn.Module) -> None:
    """Let ``train()`` reach a module again."""
    pinned = module.__dict__.get("train")
    if isinstance(pinned, PinnedEval):
        pinned.set_gate(live=False)
        del module.__dict__["train"]
