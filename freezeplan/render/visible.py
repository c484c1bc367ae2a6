"""Make text that others wrote safe and measurable on a terminal."""

from __future__ import annotations

TAB_WIDTH = 4
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Bidirectional controls reorder what stands on screen, so that a spec could read other than it is.
BIDI = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C)))
# Characters without width make two names look equal that are not.
UNSEEN = frozenset("\u00ad\u200b\u2060\ufeff\u2028\u2029")


def visible(text: str, *, keep: str = "\n") -> str:
    """Replace every character that moves the cursor, switches colours, reorders or hides.

    Tabs become four spaces; characters of ``keep`` stay.

    >>> visible("a\\tb"), visible("red\\x1b[31m") == "red" + chr(0xFFFD) + "[31m"
    ('a    b', True)
    """
    return "".join(_shown(char, keep) for char in text)


def _shown(char: str, keep: str) -> str:
    if char in keep:
        return char
    if char == "\t":
        return " " * TAB_WIDTH
    if char in UNSEEN or char in BIDI or "\ud800" <= char <= "\udfff":
        return REPLACEMENT
    return REPLACEMENT if ord(char) < 32 or 127 <= ord(char) < 160 else char
