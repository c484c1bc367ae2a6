"""Specs that freeze a drawn part of a drawn model, and what the modes law says about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st
from torch import nn

from freezeplan.api import compile_plan
from freezeplan.plan.records import Plan
from tests.strategies import is_below, torch_models


def spec_training(model: nn.Module, names: Iterable[str], **optimizer: Any) -> dict[str, Any]:
    """Return a spec that trains these names of a model and freezes the rest."""
    chosen = list(names)
    rest = [name for name in all_names(model) if name not in chosen]
    rules = [{"name": "rest", "match": rest, "state": "frozen"}] if rest else []
    rules += [{"name": "chosen", "match": chosen, "state": "trainable"}] if chosen else []
    return {"optimizer": {"no_decay": [], **optimizer}, "rule": rules}


def all_names(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return every name of every parameter, aliases included."""
    return dict(model.named_parameters(remove_duplicate=False))


def names_of(model: nn.Module, tensors: Iterable[nn.Parameter]) -> list[str]:
    """Return all names of some tensors."""
    wanted = {id(tensor) for tensor in tensors}
    return [name for name, tensor in all_names(model).items() if id(tensor) in wanted]


@st.composite
def split_models(draw: st.DrawFn) -> tuple[nn.Module, list[str]]:
    """Draw a model and the names (with all aliases) that train: sometimes all, sometimes none."""
    model = draw(torch_models())
    flags = draw(st.lists(st.booleans(), min_size=1, max_size=6))
    tensors = list(model.parameters())
    return model, names_of(model, [t for place, t in enumerate(tensors) if flags[place % len(flags)]])


def plan_training(model: nn.Module, names: Iterable[str], **optimizer: Any) -> Plan:
    """Compile a plan that trains these names and freezes the rest."""
    return compile_plan(model, spec_training(model, names, **optimizer))


def expected_eval(model: nn.Module, trained: Iterable[str]) -> set[str]:
    """Return the paths that the modes law puts into eval mode; registration order stands for execution.

    With parameters: all of them are frozen. Without: so it is with the nearest module around that has
    some; or the module runs before the first trainable parameter, in frozen surroundings.
    """
    live = set(trained)
    order = list(all_names(model))
    first = next((place for place, name in enumerate(order) if name in live), len(order))
    found = set()
    for path, _ in model.named_modules(remove_duplicate=False):
        owner = _owner(path, order)
        inside = [name for name in order if is_below(name, owner)]
        if not live & set(inside) or (owner != path and _before(model, path, owner, order, first)):
            found.add(path)
    return found


def _owner(path: str, order: list[str]) -> str:
    while path and not any(is_below(name, path) for name in order):
        path = path.rpartition(".")[0]
    return path


def _before(model: nn.Module, path: str, owner: str, order: list[str], first: int) -> bool:
    """Whether only frozen parameters are registered before a module, one of its owner's among them or after it."""
    passed = _registered_before(model, path)
    return passed < first or (passed == first and any(is_below(name, owner) for name in order[:passed]))


def _registered_before(model: nn.Module, path: str) -> int:
    count = 0
    for other, module in model.named_modules(remove_duplicate=False):
        if other == path:
            return count
        count += len(module._parameters)
    raise KeyError(path)
