"""Targets of every kind of task, drawn at random, and outputs that could be a head's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from hypothesis import strategies as st

from freezeplan.data.builders import BUILDERS
from freezeplan.tasks import TASK_KINDS, TaskKind
from freezeplan.tasks.embedding import Embedding
from freezeplan.tasks.similarity import Similarity
from freezeplan.train.tokens import EncodedTexts, encoded_texts

Values = list[list[Any]]
"""The values of each target column, row by row."""


def classes(chance: numpy.random.Generator, rows: int, width: int) -> Values:
    """Return a column of labels."""
    return [[f"c{number}" for number in chance.integers(0, width, rows)]]


def numbers(chance: numpy.random.Generator, rows: int, width: int) -> Values:
    """Return columns of numbers, some of them equal."""
    return [[float(value) for value in chance.integers(-3, 4, rows) / 2] for _ in range(width)]


def flags(chance: numpy.random.Generator, rows: int, width: int) -> Values:
    """Return lists of labels in one column, or columns of 0 and 1."""
    table = chance.integers(0, 2, (rows, width))
    table[0, 0] = 1
    if width == 1 or chance.random() < 0.5:
        return [[[f"c{place}" for place in numpy.flatnonzero(row)] for row in table]]
    return [column.tolist() for column in table.T]


def tags(chance: numpy.random.Generator, rows: int, width: int) -> Values:
    """Return lists of tags, of words of which some begin no token."""
    names = ["O", *(f"{prefix}-c{number}" for number in range(width) for prefix in "BI")]
    return [
        [
            [names[place] for place in chance.integers(0, len(names), chance.integers(1, 7))]
            for _ in range(rows)
        ]
    ]


def encoded_of(lists: list[list[str]]) -> EncodedTexts:
    """Return texts of two pieces for each word but every fourth, which has no token, between special tokens."""
    words = [
        [0, *(n for word in range(len(row)) if word % 4 != 3 for n in (word + 1, 0)), 0] for row in lists
    ]
    return encoded_texts({"input_ids": words, "words": words})


def scores(chance: numpy.random.Generator, rows: int, width: int) -> Values:
    """Return a column of scores up to 1."""
    return [[float(value) for value in chance.integers(-4, 5, rows) / 4]]


def texts(chance: numpy.random.Generator, rows: int, width: int) -> Values:
    """Return two or three texts per row, some of them alike: what a kind learns from that has no target columns."""
    return [
        [f"t{number}" for number in chance.integers(0, 4 * width + 4, rows)]
        for _ in range(int(chance.integers(2, 4)))
    ]


def apart(columns: Values) -> EncodedTexts:
    """Return columns of texts, one after the other, a token for each text."""
    return encoded_texts({"input_ids": [[int(text[1:])] for column in columns for text in column]})


def tokens(chance: numpy.random.Generator, rows: int, width: int) -> Values:
    """Return lists of tokens, each with a mark that says whether it is learned."""
    return [
        [
            [
                (int(token), int(mark))
                for token, mark in zip(
                    chance.integers(0, VOCABULARY, length), chance.integers(0, 2, length), strict=True
                )
            ]
            for length in chance.integers(1, 7, rows)
        ]
    ]


def marked_of(lists: list[list[tuple[int, int]]]) -> EncodedTexts:
    """Return tokens and the marks of those that are learned."""
    ids, marks = ([[pair[side] for pair in row] for row in lists] for side in (0, 1))
    return encoded_texts({"input_ids": ids, "learned": marks})


MAKERS: dict[str, Callable[[numpy.random.Generator, int, int], Values]] = {
    "classification": classes,
    "embedding": texts,
    "multi_label": flags,
    "regression": numbers,
    "similarity": scores,
    "token_classification": tags,
    "causal_lm": tokens,
}
VOCABULARY = 5


@dataclass(frozen=True)
class Made:
    """Hold a kind, the raw values of its target columns, the names of its outputs, and outputs for each row."""

    kind: TaskKind
    values: Values
    labels: tuple[str, ...]
    out: torch.Tensor

    def __len__(self) -> int:
        return len(self.values[0])

    def targets(self, rows: Sequence[int] | None = None) -> numpy.ndarray:
        """Return the targets of some rows, encoded by themselves."""
        rows = range(len(self)) if rows is None else rows
        if self.kind.own_head:
            return self.kind.encode([], self.labels, marked_of(self._picked(rows)[0]))
        if self.kind.most_columns == 0:
            return self.kind.encode([], self.labels, apart(self._picked(rows)))
        encoded = encoded_of([self.values[0][row] for row in rows]) if self.kind.reads_words else None
        return self.kind.encode(columns_of(self.kind, self._picked(rows)), self.labels, encoded)

    def outputs(self, rows: Sequence[int]) -> torch.Tensor:
        """Return what a head gives for some rows, as a batch."""
        out = self.out[list(rows)]
        if self.kind.own_head:
            return out[:, : max((len(self.values[0][row]) for row in rows), default=1)]
        return out[:, : self.target(rows).shape[1]] if self.kind.reads_words else out

    def target(self, rows: Sequence[int]) -> torch.Tensor:
        """Return the targets of some rows of the whole, as a batch."""
        return self.kind.collate(self.targets(), rows, torch.device("cpu"))

    def _picked(self, rows: Sequence[int]) -> Values:
        return [[column[row] for row in rows] for column in self.values]


def columns_of(kind: TaskKind, values: Values) -> list[Any]:
    """Return raw values as the columns that a task's data hold."""
    found = []
    for column in values:
        builder = BUILDERS[kind.role(len(values))]()
        for value in column:
            builder.add(value)
        found.append(builder.done())
    assert not any(column.flaws for column in found)
    return [column.values for column in found]


@st.composite
def made(draw: st.DrawFn, names: Sequence[str] = tuple(TASK_KINDS)) -> Made:
    """Draw a kind with 1 to 30 rows."""
    kind = TASK_KINDS[draw(st.sampled_from(names))]
    if kind.trained_head and draw(st.booleans()):
        kind = Similarity(trained=True)
    rows, width = draw(st.integers(1, 30)), draw(st.integers(1, 5))
    chance = numpy.random.default_rng(draw(st.integers(0, 2**32)))
    values = MAKERS[kind.name](chance, rows, width)
    if kind.most_columns == 0 and not kind.own_head:
        return _of_texts(kind, chance, values, width)
    names_of_columns = [f"column {number}" for number in range(len(values))]
    named = kind.named_by_columns(names_of_columns)
    labels = kind.declare(columns_of(kind, values)) if named is None else named
    shape = (rows, len(labels))
    if kind.reads_words or kind.own_head:
        encoded = marked_of(values[0]) if kind.own_head else encoded_of(values[0])
        shape = (rows, encoded.widths.max(), VOCABULARY if kind.own_head else len(labels))
    out = torch.from_numpy(chance.normal(size=shape).astype(numpy.float32))
    return Made(kind, values, labels, out)


def _of_texts(kind: TaskKind, chance: numpy.random.Generator, values: Values, width: int) -> Made:
    """Return a kind that learns from texts alone, with a vector of each; texts that are alike have one vector."""
    assert isinstance(kind, Embedding)
    table = chance.normal(size=(4 * width + 4, width + 1)).astype(numpy.float32)
    out = numpy.stack([table[[int(text[1:]) for text in column]] for column in values], axis=1)
    return Made(Embedding(len(values)), values, (), torch.from_numpy(out))
