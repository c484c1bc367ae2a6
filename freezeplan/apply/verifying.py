"""The last look before the first step: is the model as the plan says, and does the optimizer hold its tensors?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from freezeplan.apply.agreement import differing
from freezeplan.apply.formats import computes_in
from freezeplan.apply.matching import named_tensors
from freezeplan.apply.optimizer_state import as_one, parts_of
from freezeplan.apply.overruling import say_overruled
from freezeplan.apply.pinning import is_pinned
from freezeplan.apply.sharding import reshard_parameters
from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import first_few, quoted
from freezeplan.inventory.names import canonical_modules
from freezeplan.inventory.records import ITEM_BYTES
from freezeplan.plan.records import Phase, Plan

if TYPE_CHECKING:
    import torch

MOST_NAMED = 8


def verify(
    model: torch.nn.Module,
    plan: Plan,
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer] | None = None,
    phase: int | str = 0,
) -> None:
    """Raise unless a model, and the optimizer over it, are as one phase of a plan says.

    What comes between :func:`apply_freeze` and the first step can undo it without a word:
    ``load_state_dict(assign=True)`` makes new, trainable tensors; wrapping with ``fully_shard`` leaves an
    optimizer with tensors that are no longer the model's; converting BatchNorm loses the eval mode of frozen ones;
    a state that is loaded in another order of parameters swaps their momenta. Call this right before the first step.

    Under DistributedDataParallel with several ranks every rank must call it: the ranks' tensors are compared.
    Nothing is changed, save that FSDP's gathered parameters are sharded again. Raises
    :class:`freezeplan.DiagnosticError`: the plan is for another model (FP414), the optimizer holds other
    tensors than the model, lacks some or swaps them (FP432), gradients or modes differ from the plan (FP433),
    the ranks hold different weights (FP434);
    ``KeyError`` for a phase that the plan does not have.

    >>> import torch, freezeplan
    >>> model = torch.nn.Linear(2, 2)
    >>> plan = freezeplan.compile_plan(model, {"rule": [{"match": "**", "state": "trainable"}]})
    >>> optimizer = torch.optim.AdamW(freezeplan.build_param_groups(model, plan))
    >>> freezeplan.verify(model, plan, optimizer)
    >>> model.weight = torch.nn.Parameter(torch.zeros(2, 2))
    >>> try:
    ...     freezeplan.verify(model, plan, optimizer)
    ... except freezeplan.DiagnosticError as error:
    ...     print(error.diagnostics[0].code, error.diagnostics[0].message)
    FP432 the optimizer does not hold the model's tensors
    """
    current = plan.phases[plan.phase_index(phase)]
    reshard_parameters(model)
    tensors = named_tensors(model, plan)
    apart = list(differing(model, tensors))
    notes = [*_states(plan, current, tensors), *_modes(model, current)]
    problems = [_reported("FP433", "the model is not as the plan says", APPLY, notes)] if notes else []
    problems += [_reported("FP434", "the ranks hold different models", AGREE, apart)] if apart else []
    problems += optimizer_problems(model, as_one(optimizer), plan, tensors) if optimizer is not None else []
    if problems:
        raise DiagnosticError(problems)
    if optimizer is not None:
        say_overruled(as_one(optimizer), plan)


APPLY = "call `apply_freeze` after everything else that changes the model"
AGREE = "load the same checkpoint on every rank, before wrapping, and enter every phase on every rank"
REBUILD = "build the parameter groups and the optimizer again, after wrapping and loading"


def optimizer_problems(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    plan: Plan,
    tensors: dict[str, torch.nn.Parameter],
) -> list[Diagnostic]:
    """Return FP432 when an optimizer holds tensors that are not the model's, or lacks some that train."""
    notes = [*_strangers(model, optimizer, plan, tensors), *_misnamed(optimizer, tensors)]
    message = "the optimizer does not hold the model's tensors"
    problems = [_reported("FP432", message, REBUILD, notes)] if notes else []
    return [*problems, *_mixed(optimizer, plan, tensors)]


def _mixed(
    optimizer: torch.optim.Optimizer, plan: Plan, tensors: dict[str, torch.nn.Parameter]
) -> Iterator[Diagnostic]:
    """Report one optimizer that holds what the plan gives to two."""
    owners = {id(tensors[name]): plan.optimizer_of(group) for group in plan.groups for name in group.members}
    for part in parts_of(optimizer):
        held = [owners.get(id(tensor)) for group in part.param_groups for tensor in group["params"]]
        tables = dict.fromkeys(owner.table for owner in held if owner is not None)
        if len(tables) > 1:
            message = f"one {type(part).__name__} holds the groups of {quoted(tables)}"
            advice = (
                "use `build_optimizer(model, plan)`, or build one optimizer for each and give a list of them"
            )
            yield diagnostic("FP440", message, help=advice)


def _reported(code: str, message: str, advice: str, notes: list[str]) -> Diagnostic:
    return diagnostic(code, message, help=advice, notes=first_few(notes, MOST_NAMED))


def _states(plan: Plan, phase: Phase, tensors: dict[str, torch.nn.Parameter]) -> Iterator[str]:
    resting = set(plan.at_rest)
    for (name, tensor), what in zip(tensors.items(), phase.assignments, strict=True):
        if tensor.requires_grad is not what.trainable:
            yield f"`{name}` is {'trainable' if tensor.requires_grad else 'frozen'}, the plan says {what.state}"
        elif name in resting and computes_in(tensor) is None and _narrows(tensor, plan):
            yield f"`{name}` does not rest in {plan.frozen_dtype}, as the plan says"
        elif not what.trainable and tensor.grad is not None:
            yield f"`{name}` is frozen but holds a gradient, which an optimizer would still apply"


def _narrows(tensor: torch.Tensor, plan: Plan) -> bool:
    return tensor.is_floating_point() and tensor.element_size() > ITEM_BYTES[plan.frozen_dtype or ""]


def _modes(model: torch.nn.Module, phase: Phase) -> Iterator[str]:
    places: dict[int, tuple[torch.nn.Module, list[str]]] = {}
    for path, module, _ in canonical_modules(model):
        places.setdefault(id(module), (module, []))[1].append(path)
    frozen = set(phase.eval_modules)
    for module, paths in places.values():
        problem = _mode(module, frozen=frozen.issuperset(paths), live=model.training)
        if problem:
            yield f"`{paths[0] or '(the whole model)'}` {problem}"


def _mode(module: torch.nn.Module, *, frozen: bool, live: bool) -> str:
    """Say in what a module's mode is not the plan's; ``live``: the model is in training mode, not evaluated."""
    if frozen and module.training:
        return "is in training mode, the plan says eval mode"
    if frozen and not is_pinned(module):
        return "is in eval mode, but `train()` would take it out: it was replaced after `apply_freeze`"
    if not frozen and is_pinned(module):
        return "is held in eval mode, the plan says training mode"
    if not frozen and live and not module.training:
        return "is in eval mode, the plan says training mode"
    return ""


def _misnamed(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.nn.Parameter]) -> Iterator[str]:
    """Find tensors that stand under the name of another: ``load_state_dict`` gave them that one's state, by place."""
    names = {id(tensor): name for name, tensor in tensors.items()}
    for group in optimizer.param_groups:
        for given, tensor in zip(group.get("param_names", ()), group["params"], strict=False):
            own = names.get(id(tensor))
            if own is not None and given in tensors and tensors[given] is not tensor:
                yield f"`{own}` stands under the name of `{given}`: the state of another order was loaded"


def _strangers(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    plan: Plan,
    tensors: dict[str, torch.nn.Parameter],
) -> Iterator[str]:
    """Compare by identity: tensors of equal values are not the same tensor."""
    own = {id(tensor) for tensor in model.parameters()}
    held: set[int] = set()
    for place, group in enumerate(optimizer.param_groups):
        held.update(id(tensor) for tensor in group["params"])
        strange = [number for number, tensor in enumerate(group["params"]) if id(tensor) not in own]
        if strange:
            names = group.get("param_names")
            first = f", `{names[strange[0]]}` first" if names else ""
            label = f"`{group['name']}`" if "name" in group else str(place)
            yield f"{len(strange)} tensors of group {label} are not the model's{first}"
    missing = [name for group in plan.groups for name in group.members if id(tensors[name]) not in held]
    yield from (f"`{name}` is to train, but no group holds it" for name in missing)
