"""Makes text that others wrote stand in Markdown as it is: no markup, no link, no end of a cell."""

from __future__ import annotations

import re

from freezeplan.render.visible import visible

TICKS = re.compile("`+")
QUOTED = re.compile("`([^`]*)`")
PLAIN = frozenset(" ,;-()'%+=")


def code(text: str) -> str:
    """Return a text as inline code, which also fits a cell of a table.

    >>> print(code("layer.*.bias"), code("a|`b`"))
    `layer.*.bias` <code>a&#124;&#96;b&#96;</code>
    """
    shown = visible(text, keep="")
    if shown and shown == shown.strip() and not set(shown) & {"`", "|", "\\"}:
        return f"`{shown}`"
    return f"<code>{''.join(map(_entity, shown))}</code>"


def prose(text: str) -> str:
    """Return a sentence whose names stand between backticks: they become code, and nothing else becomes markup.

    >>> print(prose("`a|b` and `c` are *not* frozen"))
    <code>a&#124;b</code> and `c` are &#42;not&#42; frozen
    """
    parts = QUOTED.split(visible(text, keep=""))
    return "".join(code(part) if place % 2 else _escaped(part) for place, part in enumerate(parts))


def fence(text: str) -> str:
    """Return lines of text as a fenced block that none of them can end.

    >>> print(fence("a ``` b"))
    ````text
    a ``` b
    ````
    """
    shown = "\n".join(line.rstrip() for line in visible(text).split("\n"))
    ticks = "`" * max(3, 1 + max(map(len, TICKS.findall(shown)), default=0))
    return f"{ticks}text\n{shown}\n{ticks}"


def _escaped(text: str) -> str:
    """Return words with each sign that could begin markup or a link as an entity: of dots, those inside of a word."""
    return "".join(
        char
        if char in PLAIN or (char in ".:" and text[place + 1 : place + 2] in ("", " "))
        else _entity(char)
        for place, char in enumerate(text)
    )


def _entity(char: str) -> str:
    """Return a character as an entity where it is neither a letter nor a digit: entities are never markup."""
    return char if char.isalnum() or char == " " else f"&#{ord(char)};"
