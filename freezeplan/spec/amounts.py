"""Amounts of memory as a spec writes them."""

from __future__ import annotations

import re
from decimal import Decimal

DEFAULT_BUDGET = "2GiB"
SCALES = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
}
MOST_DIGITS = 30
PATTERN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")


def parse_bytes(text: str | int) -> int:
    """Return the number of bytes that a text such as ``2GiB`` says.

    Units are B, kB, MB, GB, TB (powers of 1000) and KiB, MiB, GiB, TiB (powers of 1024), in any case; a bare
    number is bytes. Raises ``ValueError`` for anything else.

    >>> parse_bytes("2GiB"), parse_bytes("1.5 kB"), parse_bytes(10)
    (2147483648, 1500, 10)
    """
    found = PATTERN.fullmatch(str(text))
    scale = SCALES.get(found[2].lower()) if found else None
    if found is None or scale is None:
        raise ValueError(f"`{text}` is no amount of memory: write a number and a unit, such as `2GiB`")
    if len(found[1]) > MOST_DIGITS:
        raise ValueError(f"`{text[:MOST_DIGITS]}…` is more memory than there is")
    return int(Decimal(found[1]) * scale)
