"""What is alive in this process: nothing leads from a tensor or an optimizer to what has been built around it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any


def living(*kinds: type) -> Iterator[Any]:
    """Yield every object of some classes, or of classes based on them, that Python still holds.

    One that was just let go of may wait in a cycle until ``gc.collect()``.

    >>> class Kept: pass
    >>> kept = Kept()
    >>> [item is kept for item in living(Kept)]
    [True]
    """
    # By the type alone: asking an unknown object for its class may run code of its own.
    known: dict[type, bool] = {}
    for item in gc.get_objects():
        kind = type(item)
        if kind not in known:
            known[kind] = issubclass(kind, kinds)
        if known[kind]:
            yield item
