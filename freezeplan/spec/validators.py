"""Checks of single values that pydantic's own constraints do not express.

Each raises ``PydanticCustomError`` whose type is the diagnostic's code and whose context may hold
``help``; ``spec/problems.py`` turns them into diagnostics.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pydantic_core import PydanticCustomError

from freezeplan.diagnostics.wording import closest, nearest, quoted
from freezeplan.spec.amounts import parse_bytes
from freezeplan.tasks import metric_names

SCORE = "score"
"""What the score over several metrics is called where a metric is named."""
NO_DECAY_RULES = ("beit", "timm", "transformers")
TASK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)

# Attributes of torch.nn.ModuleDict, which holds the heads: it refuses modules of these names. transformers adds
# `smart_apply` to all modules.
TAKEN_NAMES = frozenset(
    [
        "T_destination",
        "add_module",
        "apply",
        "bfloat16",
        "buffers",
        "call_super_init",
        "children",
        "clear",
        "compile",
        "cpu",
        "cuda",
        "double",
        "dump_patches",
        "eval",
        "extra_repr",
        "float",
        "forward",
        "get_buffer",
        "get_extra_state",
        "get_parameter",
        "get_submodule",
        "half",
        "ipu",
        "items",
        "keys",
        "load_state_dict",
        "modules",
        "mtia",
        "named_buffers",
        "named_children",
        "named_modules",
        "named_parameters",
        "parameters",
        "pop",
        "register_backward_hook",
        "register_buffer",
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
        "register_load_state_dict_post_hook",
        "register_load_state_dict_pre_hook",
        "register_module",
        "register_parameter",
        "register_state_dict_post_hook",
        "register_state_dict_pre_hook",
        "requires_grad_",
        "set_extra_state",
        "set_submodule",
        "share_memory",
        "smart_apply",
        "state_dict",
        "to",
        "to_empty",
        "train",
        "training",
        "type",
        "update",
        "values",
        "xpu",
        "zero_grad",
    ]
)


def as_list(value: Any) -> Any:
    """Let one string stand for a list of one."""
    return [value] if isinstance(value, str) else value


def one_or_list(values: list[str]) -> str | list[str]:
    """Write a list of one as a string."""
    return values[0] if len(values) == 1 else values


def check_version(value: Any) -> Any:
    """Accept version 1 of the language, written as an integer."""
    if type(value) is not int:
        raise _wrong("FP103", "version must be a whole number", "version = 1")
    if value != 1:
        message = "this spec asks for another version of the language than 1"
        raise _wrong("FP125", message, "this release reads version 1")
    return value


def check_warmup(value: Any) -> int | float:
    """Accept an integer number of steps or a fraction below 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        advice = "a number of steps (100) or a fraction of all steps (0.06)"
        raise _wrong("FP103", "warmup must be a number", advice)
    if isinstance(value, float) and not 0 <= value < 1:
        raise _wrong(
            "FP104",
            f"warmup = {value} is not a fraction from 0 up to 1",
            "write an integer for a number of steps",
        )
    if value < 0:
        raise _wrong("FP104", "warmup cannot be negative", "write 0 for no warm-up")
    return value


def check_lr_mult(value: Any) -> Any:
    """Refuse a rate of zero: it is not the same as frozen."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == 0:
        raise _wrong(
            "FP110",
            "a learning rate of 0 is not frozen: dropout, BatchNorm and optimizer state still run",
            'write state = "frozen"',
        )
    return value


def check_betas(value: Any) -> Any:
    """Accept two coefficients below 1."""
    numbers = isinstance(value, (list, tuple)) and all(
        isinstance(beta, (int, float)) and not isinstance(beta, bool) for beta in value
    )
    if not numbers or len(value) != 2 or not all(0 <= beta < 1 for beta in value):
        raise _wrong("FP104", "betas must be two numbers from 0 up to 1", "betas = [0.9, 0.999]")
    return list(value)


def check_class(value: Any) -> Any:
    """Accept the name of a module and of a class in it."""
    if isinstance(value, str) and not CLASS.fullmatch(value):
        message = f"{value!r} does not name a module and a class in it"
        raise _wrong("FP104", message, 'write `class = "MODULE:CLASS"`, such as "lion_pytorch:Lion"')
    return value


def check_no_decay(value: Any, check_list: Callable[[Any], list[str]]) -> str | list[str]:
    """Accept a list of patterns, or one string that names a published rule."""
    if not isinstance(value, str):
        return check_list(value)
    if value in NO_DECAY_RULES:
        return value
    listed = ", ".join(f'"{name}"' for name in NO_DECAY_RULES)
    message = "`no_decay` names no published rule: a string is the name of one, patterns stand in a list"
    guess = closest(value, NO_DECAY_RULES, shape='"{}"')
    raise _wrong("FP105", message, guess or f'rules: {listed}; patterns: no_decay = ["@bias"]')


def check_metric(value: Any) -> Any:
    """Accept ``task/metric`` with a metric that the evaluation prints, or the score over several of them."""
    if not isinstance(value, str) or value == SCORE:
        return value
    advice = metric_advice(value)
    if advice is None:
        return value
    raise _wrong("FP133", f"{value!r} is not a metric of a task", advice)


def metric_advice(text: str) -> str | None:
    """Return what to write in place of something that is no ``task/metric``, None where it is one."""
    task, slash, metric = text.partition("/")
    names = metric_names()
    if slash and TASK_NAME.fullmatch(task) and metric in names:
        return None
    task, metric = (task, metric) if slash else ("TASK", task)
    if not slash and nearest(metric, [SCORE]):
        return f"did you mean `{SCORE}`?"
    close = [name for name in names if metric and metric in name] or nearest(metric, names)
    known = quoted(f"{task}/{name}" for name in names)
    return f"did you mean `{task}/{close[0]}`?" if close else f"metrics: {known}"


def as_weights(value: Any) -> Any:
    """Let a list of metrics stand for a table in which each has the weight 1."""
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return dict.fromkeys(value, 1.0)
    if not isinstance(value, dict):
        advice = f'score = ["{value}"]' if isinstance(value, str) else 'score = ["TASK/METRIC", …]'
        raise _wrong("FP103", "`score` must be a list of metrics, or a table with their weights", advice)
    return value


def check_budget(value: Any) -> Any:
    """Accept a number of bytes with its unit."""
    if not isinstance(value, str):
        return value
    try:
        parse_bytes(value)
    except ValueError:
        advice = 'write a number and a unit, such as "2GiB" or "500 MB"'
        raise _wrong("FP104", f"{value!r} is no amount of memory", advice) from None
    return value


def check_phase_name(value: Any) -> Any:
    """Accept names that can be shown on one line and used as an argument."""
    if isinstance(value, str) and (not value.strip() or not value.isprintable() or value != value.strip()):
        raise _wrong(
            "FP108",
            f"{value!r} is not a name that can be shown",
            "use printable characters, no spaces around them, or leave `name` out",
        )
    return value


def as_it_is(value: Any) -> Any:
    """Return a value unchanged."""
    return value


def check_task_name(value: Any) -> Any:
    """Accept names that can be a segment of a parameter's path."""
    if isinstance(value, str) and not TASK_NAME.fullmatch(value):
        raise _wrong(
            "FP108",
            f"task name {value!r} cannot be part of a parameter's path",
            "use letters, digits and underscores, a letter first",
        )
    if isinstance(value, str) and value in TAKEN_NAMES:
        raise _wrong(
            "FP108",
            f"a head cannot be called {value!r}: the container of heads has an attribute of that name",
            f"a longer name such as {value + '_task'!r}",
        )
    return value


def _wrong(code: str, message: str, advice: str) -> PydanticCustomError:
    return PydanticCustomError(code, "{message}", {"message": message, "help": advice})
