"""The error of the selector grammar: what is wrong, where in the pattern, what to write instead."""

from __future__ import annotations

from freezeplan.diagnostics import Fix


class SelectorError(Exception):
    """Report a pattern that cannot be read; ``start`` and ``length`` are characters of the pattern.

    ``fix`` is set where only one thing can be meant.
    """

    def __init__(
        self, code: str, message: str, start: int, length: int, advice: str, fix: Fix | None = None
    ) -> None:
        self.code = code
        self.message = message
        self.start = start
        self.length = length
        self.advice = advice
        self.fix = fix
        super().__init__(f"{message} ({advice})")
