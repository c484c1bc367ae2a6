"""Taking a plan off a model: what the first plan found is remembered in the modules, and set again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from freezeplan.apply.checkpointing import let_go_of_input_gradients
from freezeplan.apply.pinning import unpin_eval_mode
from freezeplan.apply.resting import wake
from freezeplan.apply.sharding import reshard_parameters
from freezeplan.apply.wrapping import check_distributed
from freezeplan.inventory.as_made import forget_as_made
from freezeplan.inventory.names import canonical_parameters

if TYPE_CHECKING:
    import torch

# In the module itself, so that a copy of a model can be released too.
PLACE = "_before_any_plan"


@dataclass(frozen=True)
class BeforePlan:
    """Hold a module's mode, and which of its own parameters needed a gradient, before any plan."""

    training: bool
    needed: dict[str, bool]


def remember(model: torch.nn.Module) -> None:
    """Note in every module how it is, unless that was noted before: a plan is about to change it."""
    for module in model.modules():
        if PLACE not in module.__dict__:
            own = {name: item.requires_grad for name, item in module._parameters.items() if item is not None}
            module.__dict__[PLACE] = BeforePlan(module.training, own)


def release(model: torch.nn.Module) -> None:
    """Take a plan off a model: it is as it was before the first plan was put on it, its weights apart.

    Every parameter needs a gradient if it did then, and loses the one it has if not; every module is in the mode in
    which it was, and follows ``train()`` and ``eval()`` again; transformers' input-gradient hooks are on if they
    were asked for; what rested in half the space is widened, its numbers rounded. Parameters and modules that are new
    since stay as they are; so does a model that no plan is on.
    A copy of a model is released like the model. Raises :class:`freezeplan.DiagnosticError` where that would thaw
    something inside DistributedDataParallel (FP430), before anything is changed.

    >>> import torch, freezeplan
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)).eval()
    >>> rules = [{"match": "**", "state": "trainable"}, {"match": "0", "state": "frozen"}]
    >>> freezeplan.apply_freeze(model, freezeplan.compile_plan(model, {"rule": rules}))
    >>> release(model)
    >>> [tensor.requires_grad for tensor in model.parameters()], model.training, model.train()[0].training
    ([True, True, True, True], False, True)
    """
    reshard_parameters(model)
    wanted = _before(model)
    tensors = {name: tensor for name, _, tensor in canonical_parameters(model) if id(tensor) in wanted}
    check_distributed(model, {name: wanted[id(tensor)] for name, tensor in tensors.items()}, tensors)
    for tensor in tensors.values():
        tensor.requires_grad_(wanted[id(tensor)])
        tensor.grad = tensor.grad if wanted[id(tensor)] else None
    for module in model.modules():
        unpin_eval_mode(module)
        before = module.__dict__.pop(PLACE, None)
        module.training = module.training if before is None else before.training
    wake(model)
    let_go_of_input_gradients(model)
    forget_as_made(tensors.values())


def _before(model: torch.nn.Module) -> dict[int, bool]:
    """Return whether each parameter that is still in its place needed a gradient, by the tensor's identity."""
    found: dict[int, bool] = {}
    for module in model.modules():
        before = module.__dict__.get(PLACE)
        for name, tensor in module._parameters.items():
            if before is not None and tensor is not None and name in before.needed:
                found.setdefault(id(tensor), before.needed[name])
    return found
