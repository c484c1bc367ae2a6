"""Recognises too little memory: torch has no class of its own for a CPU's allocator that fails."""

from __future__ import annotations

NO_MEMORY = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "bad allocation")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception means that this machine has too little memory; a device has a class for that.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shape mismatch"))
    (True, False)
    """
    failed = isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)
    return failed or isinstance(error, MemoryError)
