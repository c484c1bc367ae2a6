"""Accuracy and macro-F1 are scikit-learn's, bit for bit."""

from __future__ import annotations

from random import Random

import numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from freezeplan.tasks.kind import merged
from freezeplan.tasks.tally import Tally


@st.composite
def predictions(draw: st.DrawFn) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Draw true and predicted classes: few rows or many, classes that never occur among them."""
    classes, rows = draw(st.integers(1, 40)), draw(st.integers(1, 300))
    chance = numpy.random.default_rng(draw(st.integers(0, 2**32)))
    truth = chance.integers(0, classes, rows)
    right = chance.random(rows) < draw(st.floats(0.0, 1.0))
    return truth, numpy.where(right, truth, chance.integers(0, draw(st.integers(1, 40)), rows))


@settings(max_examples=60, deadline=None)
@given(predictions())
def test_scores_are_those_of_scikit_learn_to_the_last_bit(given: tuple[numpy.ndarray, numpy.ndarray]) -> None:
    truth, predicted = given
    scores = tally_of(truth, predicted, numpy.zeros(len(truth))).compute()
    assert scores["accuracy"] == float(accuracy_score(truth, predicted))
    assert scores["macro_f1"] == float(f1_score(truth, predicted, average="macro", zero_division=0.0))


def tally_of(truth: numpy.ndarray, predicted: numpy.ndarray, losses: numpy.ndarray, size: int = 300) -> Tally:
    """Count rows in batches of a size."""
    tally = Tally()
    for start in range(0, len(truth), size):
        rows = slice(start, start + size)
        tally.add(truth[rows], predicted[rows], float(losses[rows].sum()))
    return tally


@given(predictions(), st.integers(1, 50), st.integers(1, 4), st.randoms())
def test_parts_merged_in_any_order_give_the_scores_of_the_whole(
    given: tuple[numpy.ndarray, numpy.ndarray], size: int, parts: int, chance: Random
) -> None:
    truth, predicted = given
    losses = numpy.random.default_rng(len(truth)).random(len(truth)) * 1e3
    whole = tally_of(truth, predicted, losses, size)
    batches = [slice(start, start + size) for start in range(0, len(truth), size)]
    shares = [batches[number::parts] for number in range(parts)]
    tallies = [Tally() for _ in shares]
    for tally, share in zip(tallies, shares, strict=True):
        for rows in share:
            tally.add(truth[rows], predicted[rows], float(losses[rows].sum()))
    chance.shuffle(tallies)
    assert merged(tallies).compute() == whole.compute()
