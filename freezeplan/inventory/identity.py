"""The promise that the names of a plan are the live model's tensors: each of them, and none twice."""

from __future__ import annotations

from typing import Any

from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import first_few, quoted
from freezeplan.inventory.names import canonical_parameters, join
from freezeplan.spec.quoting import quoted_segment

MOST_NAMED = 8


def named_parameters(model: Any) -> dict[str, Any]:
    """Return every parameter of a live model by every one of its canonical names, in registration order.

    Raises ``DiagnosticError`` (FP182) where two tensors would have one name, or a tensor none: compared with
    ``model.parameters()`` by identity.
    """
    found: dict[str, Any] = {}
    twice: dict[str, list[Any]] = {}
    for name, _, tensor in canonical_parameters(model):
        if found.setdefault(name, tensor) is not tensor:
            twice.setdefault(name, [found[name]]).append(tensor)
    held = {id(tensor) for tensor in found.values()}
    twins = {id(tensor) for tensors in twice.values() for tensor in tensors}
    nameless = [tensor for tensor in model.parameters() if id(tensor) not in held | twins]
    if twice or nameless:
        raise DiagnosticError(list(_problems(model, twice, nameless)))
    return found


def _problems(model: Any, twice: dict[str, list[Any]], nameless: list[Any]) -> list[Diagnostic]:
    live = _live_names(model)
    problems = []
    if twice:
        name, tensors = next(iter(twice.items()))
        both = quoted(live.get(id(tensor), "?") for tensor in tensors)
        message = f"two tensors of this model would both be called `{name}`: {both}"
        notes = first_few([f"`{other}`" for other in twice], MOST_NAMED)[1:]
        problems.append(diagnostic("FP182", message, help=ADVICE, notes=notes))
    if nameless:
        names = [f"`{live.get(id(tensor), '?')}`" for tensor in nameless]
        message = f"the model has tensors that a plan cannot name, {names[0]} first"
        problems.append(diagnostic("FP182", message, help=ADVICE, notes=first_few(names, MOST_NAMED)[1:]))
    return problems


def _live_names(model: Any) -> dict[int, str]:
    """Return the first name of each tensor with all prefixes, children whose names hold dots in quotes."""
    names: dict[int, str] = {}
    todo = [("", model)]
    while todo:
        path, module = todo.pop()
        for name, tensor in module._parameters.items():
            names.setdefault(id(tensor), join(path, quoted_segment(name)))
        todo += [
            (join(path, quoted_segment(name)), child)
            for name, child in module._modules.items()
            if child is not None
        ]
    return names


ADVICE = "rename one of the modules, or take the wrapper off"
