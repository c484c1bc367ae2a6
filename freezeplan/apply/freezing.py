"""Putting a plan's phase on a live model: gradients, modes, and the proof that it fits the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freezeplan.apply.checkpointing import hold_input_gradients
from freezeplan.apply.matching import named_tensors
from freezeplan.apply.pinning import pin_eval_mode, unpin_eval_mode
from freezeplan.apply.releasing import remember
from freezeplan.apply.resting import rest_frozen
from freezeplan.apply.sharding import reshard_parameters
from freezeplan.apply.wrapping import check_distributed, check_wrappers
from freezeplan.inventory.as_made import note_as_made
from freezeplan.inventory.names import canonical_modules
from freezeplan.plan.records import Phase, Plan

if TYPE_CHECKING:
    import torch


def apply_freeze(model: torch.nn.Module, plan: Plan, phase: int | str = 0) -> None:
    """Set a live model to what one phase of the plan says; ``phase`` is its place (from 0) or its name.

    Frozen tensors get ``requires_grad = False`` and lose their gradient (a stale one would still be
    applied by momentum and decay); modules that the plan lists run in eval mode, and stay in it when
    somebody calls ``model.train()``. With ``model.frozen_dtype`` in the spec, what no phase trains is rounded to
    it, once, and stays the same parameter (:class:`freezeplan.apply.widening.RestingParameter`). Call it at an
    optimizer-step boundary. Before anything is changed, raises :class:`freezeplan.DiagnosticError` when the plan
    was not compiled for this model (FP414), a wrapper around it cannot follow (FP430, FP431) or a tensor cannot be
    rounded (FP438), and ``KeyError`` for a phase that is not in the plan.

    >>> import torch, freezeplan
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    >>> rules = [{"match": "**", "state": "trainable"}, {"match": "0", "state": "frozen"}]
    >>> freezeplan.apply_freeze(model, freezeplan.compile_plan(model, {"rule": rules}))
    >>> [p.requires_grad for p in model.parameters()], model[0].training
    ([False, False, True, True], False)
    """
    current = plan.phases[plan.phase_index(phase)]
    reshard_parameters(model)
    tensors = named_tensors(model, plan)
    check_wrappers(model, current, tensors)
    rest_frozen(model, plan, tensors)
    note_as_made(tensors.values())
    remember(model)
    for name, what in zip(tensors, current.assignments, strict=True):
        tensor = tensors[name]
        if tensor.requires_grad is not what.trainable:
            tensor.requires_grad_(what.trainable)
        if not what.trainable:
            tensor.grad = None
    set_modes(model, current)
    hold_input_gradients(model)


def before_wrapping(model: torch.nn.Module, plan: Plan) -> None:
    """Let everything that any phase trains need a gradient, and nothing else, for a wrapper that settles it.

    DistributedDataParallel averages the gradients of what is trainable when it is made. Wrap after this call, with
    ``find_unused_parameters=True``, and enter the first phase afterwards: no phase is refused (FP430) then. Modes are
    left alone. Raises :class:`freezeplan.DiagnosticError`, before anything is changed, when the plan was not
    compiled for this model (FP414), or the model is wrapped already and this would be too late (FP430).

    >>> import torch, freezeplan
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    >>> off = {"name": "off", "match": "0", "state": "frozen"}
    >>> head = {"name": "head", "match": "1", "state": "trainable"}
    >>> thaw = {"match": "0.weight", "state": "trainable"}
    >>> plan = freezeplan.compile_plan(model, {
    ...     "rule": [off, head],
    ...     "phase": [{"name": "head", "epochs": 1}, {"name": "more", "epochs": 1, "rule": [thaw]}]})
    >>> before_wrapping(model, plan)
    >>> [name for name, tensor in model.named_parameters() if tensor.requires_grad]
    ['0.weight', '1.weight', '1.bias']
    """
    reshard_parameters(model)
    tensors = named_tensors(model, plan)
    trained = set(plan.ever_trained)
    check_distributed(model, {name: name in trained for name in tensors}, tensors)
    rest_frozen(model, plan, tensors)
    note_as_made(tensors.values())
    remember(model)
    for name, tensor in tensors.items():
        tensor.requires_grad_(name in trained)


def set_modes(model: torch.nn.Module, phase: Phase) -> None:
    """Pin the phase's frozen modules in eval mode and put all others into training mode.

    A module registered at several places (one dropout for all layers) is pinned only if each of its
    places is frozen.
    """
    places: dict[int, tuple[torch.nn.Module, list[str]]] = {}
    for path, module, _ in canonical_modules(model):
        places.setdefault(id(module), (module, []))[1].append(path)
        unpin_eval_mode(module)
    model.train()
    frozen = set(phase.eval_modules)
    for module, paths in places.values():
        if frozen.issuperset(paths):
            pin_eval_mode(module)
