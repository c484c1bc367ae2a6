"""Refuse texts that are too deep or too long to parse safely, before any parser sees them.

``tomllib`` recurses once per bracket, takes quadratic time for a key of very many parts, and cannot read
a number of thousands of digits. One pass over the text's tokens finds all three, and where.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_DEPTH = 64
MAX_DIGITS = 400

TOKEN = re.compile(
    r'''
      """ (?:[^"\\]++ | \\. | "(?!""))*+ (?: """ "{0,2} | \\?\Z )
    | \'\'\' (?:[^']++ | '(?!''))*+ (?: \'\'\' '{0,2} | \Z )
    | " (?:[^"\\\n]++ | \\[^\n])*+ "?
    | ' [^'\n]*+ '?
    | \#[^\n]*+
    | [\[{] | [\]}] | [.,\n]
    | [A-Za-z0-9_+-]++
    | [^"'\#\[\]{}.,\nA-Za-z0-9_+-]++
    ''',
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Excess:
    """Name what is too much (``depth`` or ``digits``) and the offsets where it begins and ends."""

    what: str
    start: int
    end: int


@dataclass
class _Depth:
    """Count open brackets plus the dots of the keys they stand under."""

    total: int = 0
    dots: int = 0
    outer: list[int] = field(default_factory=list)

    def set_by(self, token: str) -> None:
        if token in "[{":
            self.outer.append(self.dots)
            self.total, self.dots = self.total + 1, 0
        elif token in "]}" and self.outer:
            self.total -= 1 + self.dots
            self.dots = self.outer.pop()
        elif token == ".":
            self.total, self.dots = self.total + 1, self.dots + 1
        elif token in ",\n":
            self.total, self.dots = self.total - self.dots, 0


def find_excess(text: str) -> Excess | None:
    """Return the first place that nests deeper than 64 or holds a number of over 400 digits.

    Depth counts brackets and the dots of keys. Works on any text, TOML or not, in linear time.

    >>> find_excess("x = " + "[" * 65).start
    68
    """
    depth = _Depth()
    for found in TOKEN.finditer(text):
        token = found.group()
        if len(token) == 1:
            depth.set_by(token)
            if depth.total > MAX_DEPTH:
                return Excess("depth", found.start(), found.end())
        elif len(token) > MAX_DIGITS and token.lstrip("+-").replace("_", "").isdecimal():
            return Excess("digits", found.start(), found.end())
    return None
