"""Optimizers from elsewhere: found by module and class, and built so that nothing in the plan goes unused."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

from freezeplan.diagnostics import DiagnosticError, KeyPart, KeyPath
from freezeplan.diagnostics.wording import closest, first_line, quoted
from freezeplan.inventory.structure import is_under
from freezeplan.plan.records import Group, Plan, PlannedOptimizer
from freezeplan.spec.foreign_code import ADVICE, is_forbidden
from freezeplan.spec.locations import error_at_key

if TYPE_CHECKING:
    import torch

Groups = list[dict[str, Any]]


def optimizer_class(planned: PlannedOptimizer) -> type[torch.optim.Optimizer]:
    """Return the class of a plan's optimizer; of one from elsewhere the module is imported.

    Raises :class:`freezeplan.DiagnosticError` (FP421) where there is none, or where such code is switched off.
    """
    import torch

    if not planned.is_foreign:
        found: type[torch.optim.Optimizer] = getattr(torch.optim, planned.name)
        return found
    if is_forbidden():
        raise _absent(planned, f"`{planned.name}` is code from elsewhere, which is switched off here", ADVICE)
    module = _imported(planned)
    kind = getattr(module, planned.kind, None)
    if kind is None:
        known = [name for name, value in vars(module).items() if inspect.isclass(value)]
        advice = closest(planned.kind, known)
        raise _absent(planned, f"module `{module.__name__}` has no class `{planned.kind}`", advice)
    if not (inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer)):
        raise _absent(
            planned, f"`{planned.name}` is no optimizer: it is not based on `torch.optim.Optimizer`"
        )
    return kind


def check_arguments(planned: PlannedOptimizer, kind: type[torch.optim.Optimizer]) -> None:
    """Raise (FP422) for an entry of ``options`` that the constructor of a class does not take."""
    taken = inspect.signature(kind).parameters
    if any(item.kind is inspect.Parameter.VAR_KEYWORD for item in taken.values()):
        return
    known = [name for name in taken if name not in ("params", "lr", "weight_decay")]
    for key, _ in planned.arguments:
        if key not in taken:
            advice = closest(key, known) or f"it takes {quoted(known)}"
            raise _unfit(planned, ("options", key), f"{kind.__name__} takes no `{key}`", advice)


def build_foreign(planned: PlannedOptimizer, plan: Plan, groups: Groups) -> torch.optim.Optimizer:
    """Build an optimizer from elsewhere over its groups.

    Not every class takes ``(name, tensor)`` pairs, so it gets the tensors, and the groups their names afterwards.
    Raises :class:`freezeplan.DiagnosticError`: FP421 where there is no such class, FP422 where it does not take
    what the plan gives it.
    """
    made = constructed(
        planned, [{**group, "params": [tensor for _, tensor in group["params"]]} for group in groups]
    )
    if [group.get("name") for group in made.param_groups] != [group["name"] for group in groups]:
        message = f"{type(made).__name__} does not keep the groups that it is given"
        raise _unfit(planned, ("class",), message, "use another optimizer")
    for built, group in zip(made.param_groups, groups, strict=True):
        built["param_names"] = [name for name, _ in group["params"]]
    _check_keys(planned, plan, made)
    return made


def constructed(planned: PlannedOptimizer, groups: Groups) -> torch.optim.Optimizer:
    """Return what the constructor of a plan's optimizer makes of some groups of tensors."""
    kind = optimizer_class(planned)
    check_arguments(planned, kind)
    rate = {"lr": planned.lr} if "lr" in inspect.signature(kind).parameters else {}
    make: Any = kind
    try:
        made: torch.optim.Optimizer = make(groups, **rate, **dict(planned.arguments))
    except Exception as error:
        message = f"{kind.__name__} cannot be built: {first_line(error)}"
        raise _unfit(planned, ("class",), message, "look at its arguments in `options`") from error
    return made


def _imported(planned: PlannedOptimizer) -> Any:
    path = planned.name.rpartition(":")[0]
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name and is_under(path, error.name):
            package = path.partition(".")[0]
            what = (
                f"package `{package}` is not installed"
                if error.name == package
                else f"there is no module `{path}`"
            )
            raise _absent(planned, what, "install it, or correct the name of the module") from None
        raise _absent(planned, f"module `{path}` needs `{error.name}`, which is not installed") from error
    except Exception as error:
        raise _absent(planned, f"module `{path}` cannot be imported: {first_line(error)}") from error


def _check_keys(planned: PlannedOptimizer, plan: Plan, made: torch.optim.Optimizer) -> None:
    """Refuse a value for single groups that the optimizer does not keep in its groups: it would have no effect."""
    name = type(made).__name__
    own = [group for group in plan.groups if group.optimizer == planned.label]
    if "lr" not in made.defaults:
        raise _unfit(
            planned, ("class",), f"{name} has no learning rate in its groups", "use another optimizer"
        )
    if "weight_decay" not in made.defaults and any(any(group.weight_decay) for group in own):
        raise _unfit(
            planned,
            ("weight_decay",),
            f"{name} has no weight decay in its groups",
            "write `weight_decay = 0`",
        )
    for key in dict.fromkeys(key for group in own for key in _set_in(group)):
        if key not in made.defaults:
            message = f"{name} has no `{key}` in its groups: it cannot differ among them"
            raise _unfit(planned, (key,), message, "write it in `options` if the constructor takes it")


def _set_in(group: Group) -> list[str]:
    return [key for phase in range(len(group.options)) for key in group.written_options(phase)]


def _absent(planned: PlannedOptimizer, message: str, advice: str | None = None) -> DiagnosticError:
    return error_at_key((*planned.path, "class"), "FP421", message, help=advice)


def _unfit(planned: PlannedOptimizer, key: KeyPath, message: str, advice: str) -> DiagnosticError:
    part = KeyPart.KEY if key[0] == "options" else KeyPart.VALUE
    return error_at_key((*planned.path, *key), "FP422", message, help=advice, part=part)
