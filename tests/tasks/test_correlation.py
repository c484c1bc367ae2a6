"""Pearson's and Spearman's correlation are scipy's, and defined where scipy's are not."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from freezeplan.tasks.correlation import Correlation, pearson, spearman

PAIRS = st.lists(st.tuples(st.integers(-20, 20), st.floats(-1e3, 1e3, width=32)), min_size=2, max_size=40)


@given(PAIRS)
def test_they_are_those_of_scipy(pairs: list[tuple[int, float]]) -> None:
    left, right = (numpy.array(side, dtype=numpy.float32) for side in zip(*pairs, strict=True))
    assume(left.std() > 1e-3 and right.std() > 1e-3)
    assert pearson(left, right) == pytest.approx(stats.pearsonr(left, right).statistic, abs=1e-6)
    assert spearman(left, right) == pytest.approx(stats.spearmanr(left, right).statistic, abs=1e-9)


def test_what_never_changes_goes_with_nothing() -> None:
    still, moving = numpy.full(4, 2.5), numpy.arange(4.0)
    assert (pearson(still, moving), spearman(moving, still), pearson(still, still)) == (0.0, 0.0, 0.0)


def test_several_columns_are_their_mean_and_the_loss_is_per_number() -> None:
    scorer = Correlation()
    true = numpy.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])
    scorer.add(numpy.stack([true[:, 0], -true[:, 1]], axis=1), true, loss=12.0)
    assert scorer.compute() == {"pearson": 0.0, "spearman": 0.0, "loss": 2.0}
