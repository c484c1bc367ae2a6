"""Spans are those that seqeval finds, by default and in its strict mode for IOB2."""

from __future__ import annotations

import warnings

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from freezeplan.tasks import Answering
from freezeplan.tasks.spans import SpanTally, spans_of, strict_spans_of
from freezeplan.tasks.token_classification import TokenClassification

TAGS = ["O", "B-x", "I-x", "B-y", "I-y"]
# What seqeval 1.2.2 gives: (tags, spans by default, spans in strict mode with IOB2), the last word included.
FACTS = [
    ("I-x", [("x", 0, 0)], []),
    ("B-x I-x", [("x", 0, 1)], [("x", 0, 1)]),
    ("B-x I-y", [("x", 0, 0), ("y", 1, 1)], [("x", 0, 0)]),
    ("B-x I-y I-x", [("x", 0, 0), ("y", 1, 1), ("x", 2, 2)], [("x", 0, 0)]),
    ("B-x B-x O I-x", [("x", 0, 0), ("x", 1, 1), ("x", 3, 3)], [("x", 0, 0), ("x", 1, 1)]),
    ("O I-x I-x B-x", [("x", 1, 2), ("x", 3, 3)], [("x", 3, 3)]),
    ("O O", [], []),
]
ROWS = st.lists(st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1), min_size=1)


@pytest.mark.parametrize(("tags", "spans", "strict"), FACTS)
def test_they_are_what_seqeval_gave(
    tags: str, spans: list[tuple[str, int, int]], strict: list[tuple[str, int, int]]
) -> None:
    assert [(kind, start, end - 1) for kind, start, end in spans_of(tags.split())] == spans
    assert [(kind, start, end - 1) for kind, start, end in strict_spans_of(tags.split())] == strict


@given(ROWS)
def test_scores_are_those_of_seqeval(rows: list[list[tuple[str, str]]]) -> None:
    metrics = pytest.importorskip("seqeval.metrics", reason="seqeval is not installed")
    from seqeval.scheme import IOB2

    true = [[one for one, _ in row] for row in rows]
    found = [[other for _, other in row] for row in rows]
    tally = SpanTally(tuple(TAGS))
    for one, other in zip(true, found, strict=True):
        tally.add([TAGS.index(tag) for tag in one], [TAGS.index(tag) for tag in other])
    scores = tally.compute()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert scores["span_f1"] == pytest.approx(metrics.f1_score(true, found, zero_division=0))
        strict = metrics.f1_score(true, found, mode="strict", scheme=IOB2, zero_division=0)
    assert scores["strict_span_f1"] == pytest.approx(strict)


def test_tags_that_begin_and_go_on_with_nothing_are_spans_of_one_word() -> None:
    assert spans_of(["NOUN", "NOUN", "O", "X-ray"]) == [("NOUN", 0, 1), ("NOUN", 1, 2), ("X-ray", 3, 4)]
    assert strict_spans_of(["NOUN", "I-x", "VERB"]) == [("NOUN", 0, 1), ("VERB", 2, 3)]


def test_answers_tell_the_spans_of_words_with_their_scores() -> None:
    labels, text = ("B-loc", "I-loc", "O"), ["In", "New", "York", "now", "lost"]
    # [CLS] In New York ##x now: the first piece of each word counts, the last word has no token.
    words = numpy.array([[0, 1, 2, 3, 0, 4]])
    certain = torch.tensor([[0.0, 0, 0], [0, 0, 4], [3, 0, 0], [0, 2, 0], [9, 0, 0], [0, 0, 1]])
    (answer,) = TokenClassification().answers(certain[None], labels, Answering(True, words, [text]))
    assert answer["tags"] == ["O", "B-loc", "I-loc", "O", None]
    (span,) = answer["spans"]
    best = certain.softmax(dim=-1).max(dim=-1).values
    assert (span["type"], span["start"], span["end"], span["text"]) == ("loc", 1, 3, "New York")
    assert span["score"] == pytest.approx(float(best[2] + best[3]) / 2)
    assert answer["probabilities"][1] == pytest.approx(
        dict(zip(labels, certain[2].softmax(0).tolist(), strict=True))
    )
    assert answer["probabilities"][4] is None
    plain = TokenClassification().answers(certain[None], ("A", "B", "C"), Answering(False, words, [text]))
    assert set(plain[0]) == {"tags", "scores"}
