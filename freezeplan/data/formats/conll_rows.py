"""Rows of CoNLL files: a word per line with its columns, and an empty line after each sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TextIO

from freezeplan.data.formats.row_source import LONGEST_LINE, Row, RowSource
from freezeplan.diagnostics.wording import counted

TOKENS, TAGS = "tokens", "tags"
DOCUMENT = "-DOCSTART-"
BLANKS = re.compile("[ \t]+")
# What data sets of words say between sentences: `# id 7`, `# text = …`, `#begin document`.
COMMENT = re.compile(r"#[ \t]*((id|begin|end|newdoc|newpar)\b|[^\s=]+[ \t]*=)")
ADVICE = "write one word per line with the same columns in each, and an empty line after each sentence"


class TextLine(NamedTuple):
    """Hold one line of a file without its end, which the last may lack, and its number from 1."""

    number: int
    text: str
    ended: bool


def conll_rows(source: RowSource) -> Iterator[Row]:
    """Yield the line of each sentence's first word, and of each wanted column the list of its values.

    Columns are called ``1``, ``2`` and so on; the first is ``tokens`` too, and the last of several is ``tags``. Tabs
    separate them where the first word's line has one, else blanks. A line that begins with ``-DOCSTART-`` separates
    documents. A line that begins with ``#`` is a comment if it goes on like one (``# id``, ``# key = …``), or if it
    stands before a sentence's first word and has not as many columns as words have.

    Raises ``Unreadable`` with the line for a word of more or fewer columns than the first one, or an empty column.
    """
    table = None
    with source.text() as file:
        for block in blocks(file, source):
            lines = [line for line in block if not (line.text[0] == "#" and COMMENT.match(line.text))]
            if lines:
                table = table or _table_of(lines, source)
                words = table.words(lines)
                if words:
                    yield words[0][0].number, table.columns([values for _, values in words])


def blocks(file: TextIO, source: RowSource) -> Iterator[list[TextLine]]:
    """Yield the lines between empty ones, for which lines that begin with ``-DOCSTART-`` stand as well."""
    block: list[TextLine] = []
    number = 0
    while text := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(text) > LONGEST_LINE:
            raise source.too_long(number)
        line = TextLine(number, text.rstrip("\r\n"), text[-1] in "\r\n")
        if line.text.strip(" \t") and not text.startswith(DOCUMENT):
            block.append(line)
        elif block:
            yield block
            block = []
    if block:
        yield block


@dataclass(frozen=True)
class _Table:
    """Hold what the first sentence tells of a file: what separates columns, how many there are, which are wanted."""

    source: RowSource
    tabs: bool
    width: int
    first: int
    places: Sequence[int | None]

    def words(self, lines: Sequence[TextLine]) -> list[tuple[TextLine, list[str]]]:
        """Return the words of a sentence, each a line and its columns."""
        found: list[tuple[TextLine, list[str]]] = []
        for line in lines:
            values = split(line.text, self.tabs)
            if found or not (line.text.startswith("#") and len(values) != self.width):
                self._check(line, values)
                found.append((line, values))
        return found

    def columns(self, words: Sequence[Sequence[str]]) -> list[Any]:
        """Return of each wanted column the list of its values."""
        return [None if place is None else [values[place] for values in words] for place in self.places]

    def _check(self, line: TextLine, values: Sequence[str]) -> None:
        if len(values) != self.width:
            apart = "tabs" if self.tabs else "blanks"
            has = f"{counted(len(values), 'column')} between {apart}, line {self.first} {self.width}"
            raise self.source.broken(f"line {line.number} has {has}", ADVICE)
        if "" in values:
            raise self.source.broken(f"column {values.index('') + 1} is empty in line {line.number}", ADVICE)


def _table_of(lines: Sequence[TextLine], source: RowSource) -> _Table:
    first = next((line for line in lines if not line.text.startswith("#")), lines[-1])
    tabs = "\t" in first.text
    width = len(split(first.text, tabs))
    names = {str(number + 1): number for number in range(width)} | {TOKENS: 0}
    if width > 1:
        names[TAGS] = width - 1
    source.present.update(dict.fromkeys(names))
    return _Table(source, tabs, width, first.number, [names.get(name) for name in source.names])


def split(text: str, tabs: bool) -> list[str]:
    """Return the columns of a line: between tabs without the blanks around, or between runs of blanks.

    No other white space separates: a no-break space is part of a word.

    >>> split("New York\\tB-loc", True), split("York  NNP I-loc ", False)
    (['New York', 'B-loc'], ['York', 'NNP', 'I-loc'])
    """
    if tabs:
        return [value.strip(" ") for value in text.split("\t")]
    text = text.strip(" \t")
    # Nearly all files have one blank between two columns, and no tab.
    return BLANKS.split(text) if "\t" in text or "  " in text else text.split(" ")
