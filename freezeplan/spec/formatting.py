"""The text of a spec laid out in one way: blank space and line breaks change, and nothing else does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from freezeplan.spec.locations import PART
from freezeplan.spec.locator import SCALAR

INDENT = "    "
BLANK_LINES = re.compile(r"(?:[ \t]*\n)*")
SPACE = re.compile(r"[ \t]*")
COMMENT = re.compile(r"#[^\n]*")


def formatted(text: str) -> str:
    """Return TOML text laid out in one way; ``tomllib`` must accept it, and reads the same from the result.

    One blank on either side of ``=``, one behind a comma; a comment behind a value keeps its distance; no blank line
    at the beginning, one before the header of a table (one within another table may stand without), no two anywhere.
    An array that is written on several lines has an entry on each, with a comma behind it. Comments, the form of
    strings and numbers, and the order stay. Lines end as the first one does. Formatting twice changes nothing more.

    Raises ``ValueError`` for text that is laid out in a way that this does not know.

    >>> print(formatted("[[rule]]\\nmatch   =  ['a',\\n'b']  # two\\n\\n\\n\\nlr=1e-3").rstrip())
    [[rule]]
    match = [
        'a',
        'b',
    ]  # two
    <BLANKLINE>
    lr = 1e-3
    """
    newline = "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
    lines = _Writer(text.replace("\r\n", "\n")).document()
    return "".join(line + "\n" for line in lines).replace("\n", newline)


@dataclass
class _Lines:
    """The statements of a document so far, each without the line break behind it."""

    done: list[str] = field(default_factory=list)

    def blank(self) -> None:
        if self.done and self.done[-1]:
            self.done.append("")

    def before_header(self, nested: bool) -> None:
        """Part a header, with the comments right above it, from what stands before."""
        place = len(self.done)
        while place and self.done[place - 1].startswith("#"):
            place -= 1
        if place and self.done[place - 1] and not nested:
            self.done.insert(place, "")


@dataclass
class _Entry:
    """One entry of an array, the comments above it and the one behind it."""

    above: list[str]
    value: str
    comment: str = ""

    def lines(self) -> list[str]:
        return [*self.above, f"{self.value},{'  ' if self.comment else ''}{self.comment}"]


class _Writer:
    """Read a text from its beginning and return it in lines."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0

    def document(self) -> list[str]:
        lines = _Lines()
        under_header = False
        while True:
            if self._blank_lines() and not under_header:
                lines.blank()
            if self.pos >= len(self.text):
                break
            under_header = self.text[self.pos] == "["
            if under_header:
                header = self._header()
                lines.before_header("." in header)
                lines.done.append(header + self._comment())
            else:
                here = "" if self.text[self.pos] == "#" else self._pair(0)
                lines.done.append((here + self._comment()).lstrip())
            self._match(SPACE)
            self.pos += 1
        while lines.done and not lines.done[-1]:
            lines.done.pop()
        return lines.done

    def _blank_lines(self) -> bool:
        """Go past blank space; tell whether there was a whole line of it."""
        passed = "\n" in self._match(BLANK_LINES)
        self._match(SPACE)
        return passed

    def _comment(self) -> str:
        """Return a comment behind a statement with its distance, at which others above and below may stand."""
        distance = self._match(SPACE)
        if not self.text.startswith("#", self.pos):
            return ""
        return (distance if set(distance) == {" "} else "  ") + self._match(COMMENT).rstrip()

    def _header(self) -> str:
        brackets = 2 if self.text.startswith("[[", self.pos) else 1
        self.pos += brackets
        key = self._key()
        self.pos += brackets
        return "[" * brackets + key + "]" * brackets

    def _key(self) -> str:
        parts = []
        while True:
            self._match(SPACE)
            parts.append(self._match(PART))
            self._match(SPACE)
            if not self.text.startswith(".", self.pos):
                return ".".join(parts)
            self.pos += 1

    def _pair(self, depth: int) -> str:
        key = self._key()
        self.pos += 1
        self._match(SPACE)
        return f"{key} = {self._value(depth)}"

    def _value(self, depth: int) -> str:
        if self.text.startswith("[", self.pos):
            return self._array(depth)
        if self.text.startswith("{", self.pos):
            return self._inline_table(depth)
        return self._match(SCALAR)

    def _array(self, depth: int) -> str:
        """Write an array on one line, or an entry a line where it was written on several."""
        self.pos += 1
        entries: list[_Entry] = []
        above: list[str] = []
        several = False
        while True:
            ended = self._gap(entries, above)
            several |= ended
            if self.text.startswith("]", self.pos):
                break
            if self.text.startswith(",", self.pos):
                self.pos += 1
                continue
            entries.append(_Entry(above, self._value(depth + 1)))
            above = []
            several |= "\n" in entries[-1].value
        self.pos += 1
        if not several:
            return f"[{', '.join(entry.value for entry in entries)}]"
        inner = INDENT * (depth + 1)
        lines = [inner + line for entry in entries for line in entry.lines()]
        return "\n".join(["[", *lines, *(inner + comment for comment in above), INDENT * depth + "]"])

    def _gap(self, entries: Sequence[_Entry], above: list[str]) -> bool:
        """Go past blank space and comments in an array; tell whether a line ended.

        A comment on the line of an entry belongs to it, any other to what follows.
        """
        ended = False
        while True:
            self._match(SPACE)
            if self.text.startswith("\n", self.pos):
                self.pos += 1
                ended = True
            elif self.text.startswith("#", self.pos):
                comment = self._match(COMMENT).rstrip()
                if ended or not entries or entries[-1].comment:
                    above.append(comment)
                else:
                    entries[-1].comment = comment
            else:
                return ended

    def _inline_table(self, depth: int) -> str:
        self.pos += 1
        pairs = []
        self._match(SPACE)
        while not self.text.startswith("}", self.pos):
            pairs.append(self._pair(depth))
            self._match(SPACE)
            self.pos += self.text.startswith(",", self.pos)
            self._match(SPACE)
        self.pos += 1
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.pos)
        if found is None:
            raise ValueError(f"nothing to read at offset {self.pos}")
        self.pos = found.end()
        return found.group()
