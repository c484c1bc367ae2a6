"""Going on from a checkpoint in a loop of one's own: which phase is entered before it is loaded, and which after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from freezeplan.apply.matching import named_tensors
from freezeplan.apply.optimizer_state import as_one
from freezeplan.apply.phases import enter_phase, set_options
from freezeplan.apply.verifying import verify
from freezeplan.plan.records import Plan

if TYPE_CHECKING:
    import torch


def resume_from_checkpoint(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
    plan: Plan,
    load: Callable[[], object],
    *,
    phase: int | str,
    next_phase: int | str | None = None,
    factor: float | Literal["keep"] | None = "keep",
) -> None:
    """Load a checkpoint of a loop of one's own into a model and its optimizer, and be ready for the next step.

    ``load`` reads the checkpoint into both, in place: ``load_state_dict`` of each, ``accelerator.load_state``, or
    ``torch.distributed.checkpoint.load`` with ``set_state_dict``. ``phase`` is the phase of the last step before the
    checkpoint was saved, ``next_phase`` that of the next step (default: the same). What it does, in this order:

    1. enters ``phase``: entered after the loading it would drop the state of what thawed in it;
    2. calls ``load``. While it runs, all that may hold optimizer state needs a gradient, frozen or not: distributed
       checkpoints read the state of nothing else;
    3. enters ``next_phase`` with ``factor`` if it is another one, as a loop that was never stopped would; otherwise
       the rates stay as they were saved, and weight decay and options become the plan's;
    4. verifies all.

    A scheduler over several phases is best loaded by ``load`` too: entering ``next_phase`` carries it over.

    Raises :class:`freezeplan.DiagnosticError` for what :func:`freezeplan.enter_phase` and :func:`freezeplan.verify`
    refuse: tensors that ``load`` has replaced (``assign=True``) or a state that was saved in another order (FP432).

    >>> import torch, freezeplan
    >>> model = torch.nn.Linear(2, 2)
    >>> plan = freezeplan.compile_plan(model, {"rule": [{"match": "**", "state": "trainable"}]})
    >>> optimizer = torch.optim.AdamW(freezeplan.build_param_groups(model, plan))
    >>> saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    >>> def load():
    ...     model.load_state_dict(saved["model"])
    ...     optimizer.load_state_dict(saved["optimizer"])
    >>> resume_from_checkpoint(model, optimizer, plan, load, phase=0)
    """
    last = plan.phase_index(phase)
    following = last if next_phase is None else plan.phase_index(next_phase)
    chain = as_one(optimizer)
    enter_phase(model, chain, plan, last, factor=1.0)
    with _held_by_the_optimizer(model, plan, last):
        load()
    for tensor in named_tensors(model, plan).values():
        tensor.grad = None
    model.train()
    if following == last:
        set_options(model, chain, plan, last)
    else:
        for index in range(last + 1, following + 1):
            enter_phase(model, chain, plan, index, factor=factor)
    verify(model, plan, chain, following)


@contextmanager
def _held_by_the_optimizer(model: torch.nn.Module, plan: Plan, last: int) -> Iterator[None]:
    """Let every tensor need a gradient whose state a run that came so far may hold."""
    tensors = named_tensors(model, plan)
    before = {name: tensor.requires_grad for name, tensor in tensors.items()}
    for name in _holders(plan, last):
        tensors[name].requires_grad_(True)
    try:
        yield
    finally:
        for name, tensor in tensors.items():
            tensor.requires_grad_(before[name])


def _holders(plan: Plan, last: int) -> set[str]:
    """Name what has trained up to a phase, without what has lost its state since."""
    found: set[str] = set()
    for index, item in enumerate(plan.phases[: last + 1]):
        found -= set(item.drops_state)
        found |= set(plan.names(index, trainable=True))
    return found
