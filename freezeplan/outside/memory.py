"""Recognises too little memory, for which torch has no class on a CPU, and has freed memory given back."""

from __future__ import annotations

import ctypes
import sys

NO_MEMORY = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "bad allocation")
M_MMAP_THRESHOLD = -3
LARGE = 1 << 20


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception means that this machine has too little memory; a device has a class for that.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shape mismatch"))
    (True, False)
    """
    failed = isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)
    return failed or isinstance(error, MemoryError)


def give_back_large_blocks(size: int = LARGE) -> None:
    """Have blocks of ``size`` bytes and more given back to the system when they are freed, with glibc as C library.

    By itself it keeps what it is given back: its threshold rises, up to 32 MiB, with each block that is freed. What
    is gathered and let go of again and again then stays, in pieces. Source: mallopt(3), M_MMAP_THRESHOLD.
    """
    if not sys.platform.startswith("linux"):
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(M_MMAP_THRESHOLD, size)
