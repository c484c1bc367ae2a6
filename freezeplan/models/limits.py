"""How much is built from a config: a slip or a stranger's file must not take minutes and gigabytes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from freezeplan.inventory.layer_counts import counts_something
from freezeplan.models.resolve import Source
from freezeplan.spec.locations import error_at_key

SETTING = "FREEZEPLAN_MAX_MODULES"
# Twice what 61 layers of 384 experts have, five modules each; that many take a minute and a gigabyte.
MODULES = 250_000
DEEPEST = 50


class TooLarge(Exception):
    """Say what would be built beyond the limit."""


def most_modules() -> int:
    """Return how many modules a model may have: the environment's setting, else 250,000."""
    text = os.environ.get(SETTING, "")
    return int(text) if text.isdecimal() and len(text) < 19 and int(text) else MODULES


def check_size(source: Source) -> None:
    """Refuse a config that asks for more layers or labels than are built, before anything is; raises FP175.

    A layer is taken for 25 modules, four labels for one. Counts are looked for in nested configs too, and are
    added up where they are lists.
    """
    try:
        _check_table(source.config or {}, "", most_modules(), 0)
    except TooLarge as error:
        message = f"the config of `{source.label}` asks for {error}"
        raise error_at_key(source.config_at, "FP175", message, help=_advice(), notes=_notes()) from None


def _check_table(table: Mapping[str, Any], path: str, most: int, depth: int) -> None:
    if depth > DEEPEST:
        raise TooLarge(f"tables nested more than {DEEPEST} deep")
    for name, value in table.items():
        at = f"{path}{name}"
        if isinstance(value, Mapping) and name not in ("id2label", "label2id"):
            _check_table(value, f"{at}.", most, depth + 1)
        elif counts_something(str(name)):
            _check(at, _total(value), most // 25, "layers")
        elif name in ("num_labels", "id2label", "label2id"):
            _check(at, len(value) if isinstance(value, (Mapping, list)) else value, most * 4, "labels")


def _total(value: Any) -> Any:
    """Return the sum of a list of counts, or its length if that is more; a single value as it is."""
    if not isinstance(value, (list, tuple)):
        return value
    return max(len(value), sum(item for item in value if type(item) is int and item > 0))


def _check(name: str, count: Any, most: int, what: str) -> None:
    if isinstance(count, int) and count > most:
        number = f"{count:,}" if count < 10**15 else "more than 10^15"
        raise TooLarge(f"{number} {what} (`{name}`)")


@contextmanager
def counting_modules(source: Source) -> Iterator[None]:
    """Stop what the block builds once it has more modules than the limit; raises FP175.

    This holds whatever the keys of the config are called: experts, heads, towers.
    """
    from torch.nn.modules.module import register_module_module_registration_hook

    left = most = most_modules()

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise TooLarge

    hook = register_module_module_registration_hook(count)
    try:
        yield
    except TooLarge:
        message = f"the config of `{source.label}` asks for a model of more than {most:,} modules"
        raise error_at_key(source.config_at, "FP175", message, help=_advice(), notes=_notes()) from None
    finally:
        hook.remove()


def _advice() -> str:
    return "correct the number in the model's config"


def _notes() -> list[str]:
    return [f"for a model that is really this large, set {SETTING} in the environment to the modules it has"]
