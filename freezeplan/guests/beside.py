"""What a host's model lacks of the module that a guest trains: a loss with weights, and how they are saved."""

from __future__ import annotations

from typing import Any

import torch

from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import some

KEY = "beside_the_model"
"""The key of a saved optimizer state under which the tensors lie that the host itself does not save."""

Tensors = dict[str, torch.Tensor]


class Beside:
    """Carry what a host does not save of the guest's module, weights and buffers, in the optimizer's state.

    A host saves its own model and the optimizer. A loss module around that model has weights of its own; with the
    state of the optimizer they come back wherever a host brings that back.
    """

    def __init__(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.model = model
        self.host: torch.nn.Module | None = None
        self._loaded: Tensors | None = None
        optimizer.register_state_dict_post_hook(self._save)
        optimizer.register_load_state_dict_pre_hook(self._load)

    def tensors(self) -> Tensors:
        """Return the tensors of the guest's module that are not the host's, by their place in its state."""
        if self.host is None or self.host is self.model:
            return {}
        own = {id(tensor) for tensor in (*self.host.parameters(), *self.host.buffers())}
        found = self.model.state_dict(keep_vars=True).items()
        return {name: value for name, value in found if torch.is_tensor(value) and id(value) not in own}

    def trained(self) -> list[str]:
        """Name those of them that need a gradient."""
        return [name for name, value in self.tensors().items() if value.requires_grad]

    def begin(self, host: torch.nn.Module, *, resumed: bool) -> None:
        """Take a host's model; where it resumes, put back what the loaded state brought (else FP445)."""
        self.host = host
        wanted, loaded = self.tensors(), self._loaded or {}
        self._loaded = None
        if not resumed:
            return
        unfit = [
            name for name, value in wanted.items() if getattr(loaded.get(name), "shape", None) != value.shape
        ]
        if unfit:
            raise DiagnosticError([_lacking(unfit)])
        with torch.no_grad():
            for name, value in wanted.items():
                value.copy_(loaded[name])

    def _save(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        if found := self.tensors():
            state[KEY] = {name: value.detach() for name, value in found.items()}

    def _load(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        self._loaded = state.pop(KEY, None)


def _lacking(names: list[str]) -> Any:
    return diagnostic(
        "FP445",
        f"the checkpoint lacks {len(names)} tensors that stand beside the Trainer's model: {some(names, 3)}",
        help="start again from the checkpoint's weights: a guest saves these tensors with the optimizer's state",
    )
