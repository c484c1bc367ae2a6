"""The error of the selector grammar: what is wrong, where in the pattern, what to write instead."""

from __future__ import annotations


class SelectorError(Exception):
    """Report a pattern that cannot be read; ``start`` and ``length`` are characters of the pattern."""

    def __init__(self, code: str, message: str, start: int, length: int, advice: str) -> None:
        self.code = code
        self.message = message
        self.start = start
        self.length = length
        self.advice = advice
        super().__init__(f"{message} ({advice})")
