"""What wrappers around a live model make of a plan: what would be lost or go wrong in silence is refused."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import first_few
from freezeplan.inventory.names import canonical_modules, wrapped_child
from freezeplan.inventory.structure import is_under
from freezeplan.plan.records import Phase

if TYPE_CHECKING:
    import torch

MOST_NAMED = 8
# For each DistributedDataParallel, the tensors that it is known to synchronise. It keeps no list that can be read.
_synchronised: WeakKeyDictionary[Any, frozenset[int]] = WeakKeyDictionary()


def check_wrappers(model: torch.nn.Module, phase: Phase, tensors: dict[str, torch.nn.Parameter]) -> None:
    """Raise :class:`freezeplan.DiagnosticError` where a wrapper cannot follow a phase (FP430, FP431)."""
    wanted = {name: what.trainable for name, what in zip(tensors, phase.assignments, strict=True)}
    problems = [*_distributed(model, wanted, tensors), *_checkpointed(model, wanted)]
    if problems:
        raise DiagnosticError(problems)


def _distributed(
    model: torch.nn.Module, wanted: dict[str, bool], tensors: dict[str, torch.nn.Parameter]
) -> Iterator[Diagnostic]:
    """Report changes of ``requires_grad`` that DistributedDataParallel, set up before, would not notice."""
    for wrapper in model.modules():
        if not any(base.__name__ == "DistributedDataParallel" for base in type(wrapper).__mro__):
            continue
        inside = {id(tensor) for tensor in wrapper.parameters()}
        live = frozenset(id(tensor) for tensor in wrapper.parameters() if tensor.requires_grad)
        known = _synchronised.setdefault(wrapper, live)
        changed = [
            name
            for name, tensor in tensors.items()
            if id(tensor) in inside and tensor.requires_grad is not wanted[name]
        ]
        tolerant = wrapper.find_unused_parameters and not wrapper.static_graph
        refused = [name for name in changed if not tolerant or id(tensors[name]) not in known]
        if refused:
            yield _too_late(refused)


def _too_late(names: list[str]) -> Diagnostic:
    return diagnostic(
        "FP430",
        f"{len(names)} tensors would be frozen or thawed inside DistributedDataParallel, `{names[0]}` first",
        help="freeze first and wrap afterwards; to freeze later, wrap with `find_unused_parameters=True`",
        notes=first_few([f"`{name}`" for name in names], MOST_NAMED)[1:],
    )


def _checkpointed(model: torch.nn.Module, wanted: dict[str, bool]) -> Iterator[Diagnostic]:
    """Report that the first trainable tensor is in a checkpointed layer whose input needs no gradient."""
    first = next((name for name, trains in wanted.items() if trains), None)
    if first is None or any(getattr(module, "_require_grads_hooks", None) for module in model.modules()):
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
    names = {base.__name__ for base in type(module).__mro__}
    if "CheckpointWrapper" in names:
        function = module.checkpoint_fn
    elif "GradientCheckpointingLayer" in names and module.gradient_checkpointing:
        function = module._gradient_checkpointing_func
    else:
        return False
    return isinstance(function, partial) and function.keywords.get("use_reentrant") is True
