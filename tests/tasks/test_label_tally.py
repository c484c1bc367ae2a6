"""Micro-F1 and macro-F1 of several labels per row are scikit-learn's, bit for bit."""

from __future__ import annotations

import numpy
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from freezeplan.tasks.label_tally import LabelTally


@given(st.integers(1, 60), st.integers(2, 9), st.floats(0.0, 1.0), st.integers(0, 2**32))
def test_scores_are_those_of_scikit_learn_to_the_last_bit(
    rows: int, labels: int, share: float, seed: int
) -> None:
    chance = numpy.random.default_rng(seed)
    true, predicted = chance.random((rows, labels)) < share, chance.random((rows, labels)) < 0.5
    tally = LabelTally()
    for start in range(0, rows, 7):
        tally.add(true[start : start + 7], predicted[start : start + 7], 0.0)
    found = tally.compute()
    for average in ("micro", "macro"):
        assert found[f"{average}_f1"] == float(f1_score(true, predicted, average=average, zero_division=0.0))
