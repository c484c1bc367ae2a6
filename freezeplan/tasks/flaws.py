"""What can be wrong with one value of the data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Flaw:
    """Say what is wrong with one row's value: in words that rows may share, and what is this row's own.

    ``advice`` says what to do about it, where that is not what its kind of column always needs.
    """

    what: str
    detail: str = ""
    advice: str = ""
