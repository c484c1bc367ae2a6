"""Measure what torch.optim's optimizers take and keep, and write the compiler's table of it.

``python -m tools.optimizer_table freezeplan/plan/optimizers.json`` writes the file;
without an argument it prints it.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from freezeplan.plan.binding import OPTION_NAMES

# Of the implementation or of the whole optimizer, not of a group of parameters.
NOT_OPTIONS = {"params", "lr", "foreach", "maximize", "capturable", "differentiable", "fused"}
NO_ARGUMENTS = {"self", "params", "lr", "weight_decay"}
TOGGLES: dict[str, Any] = {"amsgrad": True, "centered": True, "momentum": 0.9}
SHAPE = (6, 5)


def optimizer_rows() -> list[dict[str, Any]]:
    """Return one row per optimizer class of torch.optim, by name; measured, not listed."""
    return [row(kind) for kind in optimizer_classes()]


def optimizer_classes() -> Iterator[type[torch.optim.Optimizer]]:
    """Yield torch.optim's optimizer classes in alphabetical order."""
    for _, kind in sorted(vars(torch.optim).items()):
        if (
            inspect.isclass(kind)
            and issubclass(kind, torch.optim.Optimizer)
            and kind is not torch.optim.Optimizer
        ):
            yield kind


def row(kind: type[torch.optim.Optimizer]) -> dict[str, Any]:
    """Measure one optimizer: its options, its demands, and the state it keeps after a step."""
    options = _options(kind)
    copies, scalars, factored = _state(kind, {})
    extra = {
        key: _state(kind, {key: value})[0] - copies
        for key, value in TOGGLES.items()
        if key in options and options[key] != value
    }
    if options.get("momentum"):
        copies_without = _state(kind, {"momentum": 0.0})[0]
        extra["momentum"], copies = copies - copies_without, copies_without
    return {
        "name": kind.__name__,
        "groups": _takes_groups(kind),
        "demand": _demand(kind),
        "sparse": _takes_sparse(kind, {}),
        "sparse_decay": _takes_sparse(kind, {"weight_decay": 0.1}),
        "options": options,
        "arguments": _arguments(kind, options),
        "copies": copies,
        "scalars": scalars,
        "extra": {key: count for key, count in extra.items() if count},
        "factored": factored,
    }


def _options(kind: type[torch.optim.Optimizer]) -> dict[str, Any]:
    found = {}
    for name, parameter in inspect.signature(kind.__init__).parameters.items():
        default = parameter.default
        if default is not inspect.Parameter.empty and name not in NOT_OPTIONS and _is_plain(default):
            found[name] = list(default) if isinstance(default, tuple) else default
    return found


def _arguments(kind: type[torch.optim.Optimizer], options: dict[str, Any]) -> list[str]:
    """Return what the constructor takes besides options that a group may have, parameters and rate."""
    taken = inspect.signature(kind.__init__).parameters
    return [name for name in taken if name not in NO_ARGUMENTS and not _is_option(name, options)]


def _is_option(name: str, options: dict[str, Any]) -> bool:
    return name in options and name in OPTION_NAMES


def _is_plain(value: Any) -> bool:
    values = value if isinstance(value, tuple) else (value,)
    return all(isinstance(item, (bool, int, float)) for item in values)


def _takes_groups(kind: type[torch.optim.Optimizer]) -> bool:
    first, second = (torch.nn.Parameter(torch.zeros(SHAPE)) for _ in range(2))
    try:
        kind([{"params": [("a", first)], "lr": 0.1}, {"params": [("b", second)], "lr": 0.2}])
    except ValueError:
        return False
    return True


def _demand(kind: type[torch.optim.Optimizer]) -> str:
    """Find by trial what an optimizer asks of its parameters or of its caller, in words."""
    if _steps(kind, SHAPE):
        return "" if _steps(kind, (3,)) else "2-D parameters only"
    return "a closure" if _steps(kind, SHAPE, closed=True) else "sparse gradients only"


def _steps(kind: type[torch.optim.Optimizer], shape: tuple[int, ...], *, closed: bool = False) -> bool:
    try:
        _stepped(kind, shape, {}, closed)
    except (RuntimeError, ValueError, TypeError):
        return False
    return True


def _stepped(
    kind: type[torch.optim.Optimizer], shape: tuple[int, ...], options: dict[str, Any], closed: bool
) -> dict[str, Any]:
    parameter = torch.nn.Parameter(torch.zeros(shape))
    optimizer = kind([parameter], lr=0.01, **options)
    parameter.grad = torch.ones_like(parameter)
    if closed:
        optimizer.step(lambda: torch.tensor(1.0))
    else:
        optimizer.step()
    return optimizer.state[parameter]


def _takes_sparse(kind: type[torch.optim.Optimizer], options: dict[str, Any]) -> bool:
    """Try whether an optimizer takes sparse gradients, with options that it may not have."""
    parameter = torch.nn.Parameter(torch.zeros(SHAPE))
    parameter.grad = torch.ones(SHAPE).to_sparse(1)
    closure = [lambda: torch.tensor(1.0)] if _demand(kind) == "a closure" else []
    try:
        kind([parameter], lr=0.01, **options).step(*closure)
    except (RuntimeError, ValueError, TypeError):
        return False
    return True


def _state(kind: type[torch.optim.Optimizer], options: dict[str, Any]) -> tuple[int, int, bool]:
    """Return (tensors of the parameter's size, bytes of scalars, whether rows and columns are kept apart)."""
    if _demand(kind) == "sparse gradients only":
        return 2, 0, False
    if _demand(kind) == "a closure":
        # Two vectors for each step of its history, at most, and the two it works with.
        return 2 * inspect.signature(kind.__init__).parameters["history_size"].default + 2, 0, False
    state = [
        value for value in _stepped(kind, SHAPE, options, False).values() if isinstance(value, torch.Tensor)
    ]
    scalars = sum(value.numel() * value.element_size() for value in state if value.numel() == 1)
    partial = [value for value in state if 1 < value.numel() < SHAPE[0] * SHAPE[1]]
    full = [value for value in state if value.numel() == SHAPE[0] * SHAPE[1]]
    return len(full) + bool(partial), scalars, bool(partial)


def document() -> str:
    """Return the table as JSON text."""
    return (
        json.dumps({"torch": torch.__version__.partition("+")[0], "optimizers": optimizer_rows()}, indent=1)
        + "\n"
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(document(), "utf-8")
    else:
        print(document(), end="")
