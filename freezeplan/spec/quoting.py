"""Quoted segments of a pattern: names that hold what means something else there."""

from __future__ import annotations

import re

# A character that the pattern language refuses, or reads as something else than itself.
UNWRITABLE = re.compile(r"[\s?/\\\\@\[\]{},:*.\"']")
QUOTED = re.compile(r"""(?:^|(?<=\.))(?:"(?P<double>[^"]+)"|'(?P<single>[^']+)')(?=\.|$)""")
# Stands for the characters of a quoted segment while the rest of a pattern is read; no name holds it.
FILLER = "\ufdd0"


def quoted_segment(name: str) -> str:
    """Write the name of a module or tensor as one segment of a pattern, in quotes where it needs them.

    A name that holds both kinds of quotes cannot be quoted: `*` stands for what is in the way.

    >>> print(quoted_segment("layer"), quoted_segment("task a"), quoted_segment("conv.0"), quoted_segment('5" disk'))
    layer 'task a' 'conv.0' '5" disk'
    """
    if not UNWRITABLE.search(name) and not name.startswith("re:"):
        return name
    for quote in ("'", '"'):
        if quote not in name:
            return f"{quote}{name}{quote}"
    return re.sub(r"\*+", "*", UNWRITABLE.sub("*", name))


def without_quoted(text: str) -> tuple[str, dict[int, str]]:
    """Return a pattern with its quoted segments filled in, each as long as it was, and what each says by its start.

    >>> without_quoted("heads.'task a'.weight")[1]
    {6: 'task a'}
    """
    found = {match.start(): match["double"] or match["single"] for match in QUOTED.finditer(text)}
    return QUOTED.sub(lambda match: FILLER * len(match[0]), text), found
