"""Scores of tagged words: how many spans are found, and how many words are tagged right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import TYPE_CHECKING, Any

from freezeplan.tasks.report import ClassCounts, report_of

if TYPE_CHECKING:
    import torch

Span = tuple[str, int, int]
OUTSIDE = "O"


@dataclass
class SpanTally:
    """Hold counts of spans and words, and one sum of losses per batch.

    ``spans`` and ``strict`` count of each type the spans that are found and true, that are true, and that are found.

    >>> tally = SpanTally(("B-x", "I-x", "O"))
    >>> tally.add([0, 1, 2, 1], [0, 1, 2, 2])
    >>> tally.losses.append(2.0)
    >>> tally.compute()
    {'span_f1': 0.6666666666666666, 'strict_span_f1': 1.0, 'accuracy': 0.75, 'loss': 0.5}
    """

    labels: tuple[str, ...]
    spans: dict[str, ClassCounts] = field(default_factory=dict)
    strict: dict[str, ClassCounts] = field(default_factory=dict)
    words: int = 0
    right: int = 0
    losses: list[float] = field(default_factory=list)

    def update(self, out: torch.Tensor, target: torch.Tensor, loss: float) -> None:
        """Count one batch by its logits ``(rows, tokens, tags)`` and tags ``(rows, tokens)``, -100 for none."""
        predicted = out.argmax(dim=-1)
        for true, found in zip(target.tolist(), predicted.tolist(), strict=True):
            places = [place for place, tag in enumerate(true) if tag >= 0]
            self.add([true[place] for place in places], [found[place] for place in places])
        self.losses.append(loss)

    def add(self, true: Sequence[int], predicted: Sequence[int]) -> None:
        """Count the words of one row by the numbers of their tags."""
        self.words += len(true)
        self.right += sum(one == other for one, other in zip(true, predicted, strict=True))
        tags, found = ([self.labels[number] for number in side] for side in (true, predicted))
        _count(self.spans, set(spans_of(tags)), set(spans_of(found)))
        _count(self.strict, set(strict_spans_of(tags)), set(strict_spans_of(found)))

    def merge(self, other: SpanTally) -> None:
        """Count what another tally has counted."""
        for mine, others in ((self.spans, other.spans), (self.strict, other.strict)):
            for kind, found in others.items():
                mine.setdefault(kind, ClassCounts()).add(found)
        self.words, self.right = self.words + other.words, self.right + other.right
        self.losses += other.losses

    def compute(self) -> dict[str, float]:
        """Return ``span_f1``, ``strict_span_f1``, ``accuracy`` of words and mean ``loss`` of all words so far.

        F1 is ``2 hits / (true + found)``, 0 without any span; a span is a hit when its type, its first and its last
        word are those of a true one.
        """
        words = max(self.words, 1)
        return {
            "span_f1": _f1(self.spans),
            "strict_span_f1": _f1(self.strict),
            "accuracy": self.right / words,
            "loss": fsum(self.losses) / words,
        }

    def report(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return the scores of each type of spans, as each of the two readings of tags finds them."""
        return {
            name: report_of(dict(sorted(found.items())), micro=True)
            for name, found in (("spans", self.spans), ("strict_spans", self.strict))
        }


def _count(counts: dict[str, ClassCounts], true: set[Span], found: set[Span]) -> None:
    for spans, more in (
        (true & found, ClassCounts(hits=1)),
        (true, ClassCounts(true=1)),
        (found, ClassCounts(predicted=1)),
    ):
        for kind, _, _ in spans:
            counts.setdefault(kind, ClassCounts()).add(more)


def _f1(counts: dict[str, ClassCounts]) -> float:
    whole = ClassCounts()
    for found in counts.values():
        whole.add(found)
    return whole.scores()["f1"]


def spans_of(tags: Sequence[str]) -> list[Span]:
    """Return the spans that tags stand for, as (type, first word, word after the last), as ``conlleval`` reads them.

    ``B-x`` begins a span of type x, ``I-x`` goes on with it, and begins one after another type or none. A tag that is
    neither, nor ``O``, is a span of one word. Source: Tjong Kim Sang and Buchholz, Introduction to the CoNLL-2000
    Shared Task: Chunking, 2000, https://aclanthology.org/W00-0726.

    >>> spans_of(["B-per", "I-per", "O", "I-loc", "B-loc"])
    [('per', 0, 2), ('loc', 3, 4), ('loc', 4, 5)]
    """
    return _spans(tags, lenient=True)


def strict_spans_of(tags: Sequence[str]) -> list[Span]:
    """Return the spans that tags stand for when each must begin with ``B-`` (IOB2); other ``I-`` count for nothing.

    >>> strict_spans_of(["B-per", "I-per", "O", "I-loc", "B-loc"])
    [('per', 0, 2), ('loc', 4, 5)]
    """
    return _spans(tags, lenient=False)


def _spans(tags: Sequence[str], *, lenient: bool) -> list[Span]:
    found: list[Span] = []
    kind, start = "", -1
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, of = _parts(tag)
        if start >= 0 and not (prefix == "I" and of == kind):
            found.append((kind, start, place))
            start = -1
        if start < 0 and (prefix in "BS" if prefix else False) | (lenient and prefix == "I"):
            kind, start = of, place
    return found


def _parts(tag: str) -> tuple[str, str]:
    """Return what a tag says of its word (B begins, I goes on, S stands alone, nothing), and the type."""
    if tag == OUTSIDE:
        return "", ""
    prefix, dash, kind = tag.partition("-")
    return (prefix, kind) if dash and prefix in ("B", "I") else ("S", tag)
