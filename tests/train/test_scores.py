"""Accuracy and macro-F1 are scikit-learn's, bit for bit."""

from __future__ import annotations

import numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from freezeplan.train.scores import accuracy, macro_f1


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
    assert accuracy(truth, predicted) == float(accuracy_score(truth, predicted))
    expected = float(f1_score(truth, predicted, average="macro", zero_division=0.0))
    assert macro_f1(truth, predicted) == expected
