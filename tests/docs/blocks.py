"""The fenced code blocks of a Markdown page, each with the words that say what it is.

The first word after the fence is the language, the others say how the block is tried:

- ``python``: run in the page's namespace. ``text output`` below it is what it prints.
- ``toml spec [file=NAME] [error=CODE,…] [warning=CODE,…]``: a whole spec, compiled; with ``file`` it is also
  written, for the blocks that follow.
- ``toml part [over] [error=…] [warning=…]``: tables of a spec; what it lacks (a model, tasks, a rule) is
  supplied, and with ``over`` its rules stand below one that freezes everything (and the heads train).
- ``toml append file=NAME`` and ``toml replace file=NAME``: add to a file, or put a rule in the place of the
  one of the same name; not compiled.
- ``console [within=SHARE]``: commands after ``$``, and what they print; a line ``...`` stands for any lines.
  ``within=0.02`` lets accuracies and losses differ by 0.02, and other numbers with a decimal point by 2 %.
- ``needs=PACKAGE,…``, after any language: tried only where these are installed.
- ``norun REASON``, after any language: not tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

FENCE = re.compile(r"^ *```(?P<info>.*)$")


@dataclass(frozen=True)
class Block:
    """One fenced block: where it starts, its language, the words after it, and its text."""

    page: str
    line: int
    language: str
    words: tuple[str, ...]
    text: str

    @property
    def place(self) -> str:
        """Page and line, as an editor opens them."""
        return f"{self.page}:{self.line}"

    def value(self, key: str) -> str | None:
        """Return what stands after ``key=`` among the words, or None."""
        return next((word.partition("=")[2] for word in self.words if word.startswith(f"{key}=")), None)

    def codes(self, key: str) -> set[str]:
        """Return the codes listed after ``key=``."""
        return set(filter(None, (self.value(key) or "").split(",")))

    @property
    def tolerance(self) -> float:
        """How far the numbers may be from those shown: what stands after ``within=``, 0 without it."""
        return float(self.value("within") or 0)

    @property
    def is_skipped(self) -> bool:
        """Whether the page says not to try it."""
        return bool(self.words) and self.words[0] == "norun"

    @property
    def lacks(self) -> list[str]:
        """The packages that it needs and that are not installed."""
        return [name for name in sorted(self.codes("needs")) if find_spec(name) is None]


def blocks_of(text: str, page: str = "page.md") -> Iterator[Block]:
    """Yield the blocks of a page in order; a fence that is never closed is an error."""
    start: tuple[int, str] | None = None
    body: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if fence is None:
            body.append(line)
        elif start is None:
            start, body = (number, fence["info"].strip()), []
        else:
            language, *words = start[1].split() or [""]
            yield Block(page, start[0], language, tuple(words), "\n".join(body) + "\n")
            start = None
    if start is not None:
        raise AssertionError(f"{page}:{start[0]}: the fence is never closed")


def blocks_in(path: Path) -> list[Block]:
    """Return the blocks of a file."""
    return list(blocks_of(path.read_text("utf-8"), path.name))
