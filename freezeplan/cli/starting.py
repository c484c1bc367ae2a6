"""No garbage collection while libraries are imported: it would walk all that they make, again and again.

That is a sixth of the CPU time of a small run. What is imported stays, so nothing is lost by not looking.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_start() -> Iterator[None]:
    """Collect no garbage inside the block, for the whole of a process, until the work has :func:`begun`."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def begun() -> None:
    """Collect garbage again from here on, but leave alone what is there by now."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
