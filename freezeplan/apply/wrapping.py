"""What wrappers around a live model make of a plan: what would be lost or go wrong in silence is refused."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from freezeplan.apply.checkpointing import checkpoints, has_input_gradients
from freezeplan.apply.living import living
from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import first_few
from freezeplan.inventory.names import canonical_modules, is_a, wrapped_child
from freezeplan.inventory.structure import is_under
from freezeplan.plan.records import Phase

if TYPE_CHECKING:
    import torch

MOST_NAMED = 8
# For each DistributedDataParallel, the tensors that it synchronises.
_synchronised: WeakKeyDictionary[Any, frozenset[int]] = WeakKeyDictionary()
Tensors = dict[str, "torch.nn.Parameter"]


def check_wrappers(model: torch.nn.Module, phase: Phase, tensors: Tensors) -> None:
    """Raise :class:`freezeplan.DiagnosticError` where a wrapper cannot follow a phase (FP430, FP431)."""
    wanted = {name: what.trainable for name, what in zip(tensors, phase.assignments, strict=True)}
    problems = [*_distributed(model, wanted, tensors), *_checkpointed(model, wanted)]
    if problems:
        raise DiagnosticError(problems)


def check_distributed(model: torch.nn.Module, wanted: dict[str, bool], tensors: Tensors) -> None:
    """Raise :class:`freezeplan.DiagnosticError` where DDP cannot follow; ``wanted``: what is to need a gradient."""
    problems = list(_distributed(model, wanted, tensors))
    if problems:
        raise DiagnosticError(problems)


def distributed_wrappers(model: torch.nn.Module) -> list[Any]:
    """Return every DistributedDataParallel that holds parameters of a model: inside, the model itself, or around it.

    A module does not know what wraps it, so those around it are looked for among all objects that are alive.
    """
    inside = [module for module in model.modules() if is_a(module, "DistributedDataParallel")]
    own = {id(tensor) for tensor in model.parameters()}
    around = [
        item for item in _alive() if item not in inside and any(id(p) in own for p in item.parameters())
    ]
    return inside + around


def _alive() -> list[Any]:
    """Return every DistributedDataParallel that somebody still holds, where there are several ranks."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return []
    if distributed.get_world_size() == 1 or not _found():
        return []
    # One that was just let go of may wait in a cycle.
    gc.collect()
    return _found()


def _found() -> list[Any]:
    from torch.nn.parallel import DistributedDataParallel

    return list(living(DistributedDataParallel))


def _distributed(model: torch.nn.Module, wanted: dict[str, bool], tensors: Tensors) -> Iterator[Diagnostic]:
    """Report changes of ``requires_grad`` that DistributedDataParallel, set up before, would not notice."""
    for wrapper in distributed_wrappers(model):
        inside = {id(tensor) for tensor in wrapper.parameters()}
        changed = [
            name
            for name, tensor in tensors.items()
            if id(tensor) in inside and tensor.requires_grad is not wanted[name]
        ]
        if _refuses_all(wrapper, model):
            refused = changed
        else:
            thawed = [name for name in changed if wanted[name] or _is_inside(wrapper, model)]
            known = synchronised_by(wrapper) if thawed else frozenset()
            refused = [name for name in thawed if id(tensors[name]) not in known]
        if refused:
            yield _too_late(refused)


def _refuses_all(wrapper: Any, model: torch.nn.Module) -> bool:
    """Whether a wrapper can follow no change at all.

    One around the model that looks for no unused parameters may be an old one that somebody still holds; if it is
    not, it stops at the second step by itself.
    """
    return bool(wrapper.static_graph or (_is_inside(wrapper, model) and not wrapper.find_unused_parameters))


def _is_inside(wrapper: Any, model: torch.nn.Module) -> bool:
    return any(module is wrapper for module in model.modules())


def synchronised_by(wrapper: Any) -> frozenset[int]:
    """Return the identities of the tensors whose gradients a DistributedDataParallel averages.

    Its reducer settled that at wrapping, and lists them with its buckets. They never change afterwards.
    """
    if wrapper not in _synchronised:
        buckets = wrapper.reducer._get_zeros_like_grad_buckets()
        _synchronised[wrapper] = frozenset(id(item) for bucket in buckets for item in bucket.parameters())
    return _synchronised[wrapper]


def _too_late(names: list[str]) -> Diagnostic:
    return diagnostic(
        "FP430",
        f"{len(names)} tensors would be frozen or thawed inside DistributedDataParallel, `{names[0]}` first",
        help="wrap after `before_wrapping(model, plan)` with `find_unused_parameters=True`; or wrap again in each "
        "phase, after `del` of the old wrapper and `enter_phase`",
        notes=first_few([f"`{name}`" for name in names], MOST_NAMED)[1:],
    )


def _checkpointed(model: torch.nn.Module, wanted: dict[str, bool]) -> Iterator[Diagnostic]:
    """Report that the first trainable tensor is in a checkpointed layer whose input needs no gradient."""
    first = next((name for name, trains in wanted.items() if trains), None)
    if first is None or any(map(has_input_gradients, model.modules())):
        return
    for path, module, outermost in canonical_modules(model):
        if is_under(first, path) and any(_is_reentrant(item) for item in _chain(outermost, module)):
            yield diagnostic(
                "FP431",
                f"`{path}` is checkpointed with `use_reentrant=True` and all before it is frozen: "
                f"`{first}` and what follows would get no gradient",
                help="checkpoint with `use_reentrant=False`",
            )
            return


def _chain(outermost: Any, module: Any) -> Iterator[Any]:
    """Yield the wrappers around a module and then the module."""
    while outermost is not module:
        yield outermost
        outermost = outermost._modules[wrapped_child(outermost)]
    yield module


def _is_reentrant(module: Any) -> bool:
    """Tell whether a module runs as a whole under torch's reentrant checkpointing."""
    if is_a(module, "CheckpointWrapper"):
        function = module.checkpoint_fn
    elif checkpoints(module):
        function = module._gradient_checkpointing_func
    else:
        return False
    return isinstance(function, partial) and function.keywords.get("use_reentrant") is True
