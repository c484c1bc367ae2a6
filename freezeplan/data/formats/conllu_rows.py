"""Rows of CoNLL-U files, and of CoNLL-U Plus, whose first line names the columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from freezeplan.data.formats.conll_rows import TAGS, TOKENS, TextLine, blocks
from freezeplan.data.formats.row_source import Row, RowSource
from freezeplan.diagnostics.wording import counted

COLUMNS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
ID, FORM, UPOS = "ID", "FORM", "UPOS"
NAMED = re.compile(r"#[ \t]*global\.columns[ \t]*=[ \t]*(.+)")
# 1-2 spells several words at once, 8.1 is a node without a word in the text.
BESIDE_WORDS = re.compile(r"[0-9]+[-.][0-9]+")
# In other columns an underscore says that nothing is given.
SAYS_ITSELF = ("FORM", "LEMMA", "FEATS", "DEPS", "MISC")
ADVICE = "see https://universaldependencies.org/format.html; files of other columns end in `.conll`"


def conllu_rows(source: RowSource) -> Iterator[Row]:
    """Yield the line of each sentence's first word, and of each wanted column the list of its values.

    Columns have the names of the format in any case (``upos``), or those that ``# global.columns =`` gives.
    ``tokens`` is FORM and ``tags`` UPOS, or the last column where there is none. Words are the syntactic ones, with
    whole numbers: ranges (``1-2``) and empty nodes (``8.1``) are passed over. ``_`` is None, "not given", but in FORM,
    LEMMA, FEATS, DEPS and MISC, where it is a value.

    Raises ``Unreadable`` with the line for a word with another number of columns, an ID that is not the next one, or
    a file that ends within a line.
    """
    table = None
    with source.text() as file:
        for block in blocks(file, source):
            table = table or _table_of(block[0], source)
            words = [word for line in block if (word := table.word(line)) is not None]
            if words:
                table.check_numbers(words)
                yield words[0][0], table.values([values for _, values in words])


Word = tuple[int, list[str]]


@dataclass(frozen=True)
class _Table:
    """Hold the names of a file's columns, and which of them each wanted name means."""

    source: RowSource
    names: tuple[str, ...]
    wanted: Sequence[str | None]

    def word(self, line: TextLine) -> Word | None:
        """Return the number of a word's line and its columns, None for what stands beside the words."""
        values = line.text.split("\t")
        if line.text.startswith("#") and (self.names[0] == ID or len(values) != len(self.names)):
            return None
        self._check(line, values)
        beside = ID in self.names and BESIDE_WORDS.fullmatch(values[self.names.index(ID)])
        return None if beside else (line.number, values)

    def check_numbers(self, words: Sequence[Word]) -> None:
        """Refuse a sentence whose words are not numbered one after the other: some are lost, or it is two."""
        if ID not in self.names:
            return
        place = self.names.index(ID)
        for number, (line, values) in enumerate(words, 1):
            if values[place] != str(number):
                wrong = f"line {line} has the ID `{values[place]}` where word {number} comes next"
                raise self.source.broken(wrong, ADVICE)

    def values(self, words: Sequence[Sequence[str]]) -> list[Any]:
        """Return of each wanted column the list of its values."""
        return [None if name is None else self._column(name, words) for name in self.wanted]

    def _column(self, name: str, words: Sequence[Sequence[str]]) -> list[str | None] | None:
        """Return a column's values, None where nothing is given for any word."""
        place = self.names.index(name)
        found = [values[place] for values in words]
        if name in SAYS_ITSELF:
            return list(found)
        return [None if value == "_" else value for value in found] if set(found) != {"_"} else None

    def _check(self, line: TextLine, values: Sequence[str]) -> None:
        if len(values) != len(self.names):
            has = f"{counted(len(values), 'column')} between tabs, not {len(self.names)}"
            raise self.source.broken(f"line {line.number} has {has}", ADVICE)
        if "" in values:
            what = f"{self.names[values.index('')]} is empty in line {line.number}"
            raise self.source.broken(what, "write `_` where nothing is given")
        if not line.ended:
            raise self.source.broken(f"it ends within line {line.number}", "write the file again, whole")


def _table_of(first: TextLine, source: RowSource) -> _Table:
    said = NAMED.match(first.text)
    names = tuple(said[1].split()) if said else COLUMNS
    if FORM not in names:
        raise source.broken(f"line {first.number} names no column FORM", ADVICE)
    wanted = [_meant(name, names) for name in source.names]
    found = [name for name, column in zip(source.names, wanted, strict=True) if column is not None]
    source.present.update(dict.fromkeys((*names, *found)))
    return _Table(source, names, wanted)


def _meant(name: str, names: Sequence[str]) -> str | None:
    """Return the column that a wanted name means, None where there is no such column."""
    usual = {TOKENS: FORM, TAGS: UPOS if UPOS in names else names[-1]}
    by_case = {other.lower(): other for other in names}
    return name if name in names else usual.get(name) or by_case.get(name.lower())
