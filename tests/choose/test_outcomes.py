"""Scores of rows are those of the tasks' own scorers, and their standard errors those of formulas."""

from __future__ import annotations

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from freezeplan.choose.depth_rule import best_of, first_enough
from freezeplan.choose.kinds import PROBED, Sample, cosines, fitted
from freezeplan.choose.linear import LogisticPath, RidgePath
from freezeplan.choose.outcomes import Outcome, correlation, share_of_hits
from freezeplan.tasks import TASK_KINDS

LABELS = ("B-x", "I-x", "O")


def random_case(kind: str, seed: int) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """Return outputs, targets, and where rows end."""
    chance = numpy.random.default_rng(seed)
    outputs = chance.normal(size=(30, 3)).astype(numpy.float32)
    each = numpy.arange(1, 31)
    if kind == "multi_label":
        return outputs, chance.integers(0, 2, (30, 3)), each
    if kind in ("regression", "similarity"):
        width = 3 if kind == "regression" else 1
        return outputs[:, :width], chance.normal(size=(30, width)).astype(numpy.float32), each
    if kind == "embedding":
        texts = chance.integers(0, 40, (30, 2))
        return chance.normal(size=(40, 3)).astype(numpy.float32)[texts], texts, each
    ends = numpy.array([4, 10, 30]) if kind == "token_classification" else each
    return outputs, chance.integers(0, 3, 30), ends


@pytest.mark.parametrize("kind", list(PROBED))
@given(seed=st.integers(0, 1000))
def test_scores_are_those_of_the_kind(kind: str, seed: int) -> None:
    outputs, targets, ends = random_case(kind, seed)
    scorer = TASK_KINDS[kind].scorer(LABELS)
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        row = torch.from_numpy(outputs[start:end]), torch.from_numpy(targets[start:end])
        if kind == "token_classification":
            row = row[0][None], row[1][None]
        scorer.update(*row, 0.0)
    expected = scorer.compute()[TASK_KINDS[kind].metric_names[0]]
    outcome = PROBED[kind](LABELS).outcome(outputs, Sample(outputs, targets, ends))
    assert outcome.score == pytest.approx(expected, abs=1e-6)


def test_the_error_of_a_share_is_binomial_and_the_bootstrap_agrees_with_it() -> None:
    right = numpy.arange(400) % 4 > 0
    outcome = share_of_hits(right)
    assert outcome.error == pytest.approx((0.75 * 0.25 / 400) ** 0.5)
    hits = numpy.stack([right, right, numpy.ones(400)], axis=1)
    hits[:, 1] = 1
    resampled = Outcome(hits, "f1")
    assert resampled.error == pytest.approx(outcome.error, rel=0.15)


def test_the_error_of_a_correlation_is_that_of_many_samples() -> None:
    chance = numpy.random.default_rng(1)

    def sample(count: int) -> tuple[numpy.ndarray, numpy.ndarray]:
        x = chance.normal(size=(count, 1))
        return x, 0.6 * x + 0.8 * chance.normal(size=(count, 1))

    scores = [correlation(*sample(200)).score for _ in range(400)]
    assert numpy.mean(scores) == pytest.approx(0.6, abs=0.02)
    assert correlation(*sample(200)).error == pytest.approx(numpy.std(scores), rel=0.35)


def test_a_difference_on_the_same_rows_has_the_smaller_error() -> None:
    right = numpy.arange(300) % 3 > 0
    other = right.copy()
    other[:6] = True
    more, error = share_of_hits(other).beyond(share_of_hits(right))
    assert more == pytest.approx(2 / 300)
    assert error < share_of_hits(right).error / 5
    assert share_of_hits(right).beyond(share_of_hits(right)) == (0.0, 0.0)


@given(hits=st.lists(st.integers(0, 50), min_size=1, max_size=6))
def test_what_is_enough_is_never_above_the_best_and_never_told_apart_from_it(hits: list[int]) -> None:
    outcomes = [share_of_hits(numpy.arange(50) < most) for most in hits]
    enough, best = first_enough(outcomes), best_of(outcomes)
    assert enough <= best
    short, error = outcomes[best].beyond(outcomes[enough])
    assert short <= error
    assert all(outcomes[best].beyond(item)[0] > outcomes[best].beyond(item)[1] for item in outcomes[:enough])


@pytest.mark.parametrize("labels", [2, 4])
def test_a_map_of_plain_features_is_what_was_fitted_to_scaled_ones(labels: int) -> None:
    from sklearn.linear_model import LogisticRegression

    chance = numpy.random.default_rng(2)
    features = chance.normal(3.0, 5.0, size=(80, 6))
    features[:, 5] = 7.0
    classes = (features[:, 0] * 1.3 + features[:, 1] > 0).astype(int) + (labels - 2) * (features[:, 2] > 3)
    found = LogisticPath(features, classes, labels).fit(0.1)(features)
    scaled = (features - features.mean(axis=0)) / numpy.where(
        features.std(axis=0) > 0, features.std(axis=0), 1
    )
    model = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000).fit(scaled, classes)
    present = numpy.unique(classes)
    shares = torch.from_numpy(found[:, present]).softmax(dim=1).numpy()
    assert shares == pytest.approx(model.predict_proba(scaled), abs=0.01)


def test_a_feature_that_hardly_moves_gets_no_large_weight() -> None:
    chance = numpy.random.default_rng(8)
    features = chance.normal(size=(60, 3))
    classes = (features[:, 0] > 0).astype(int)
    features[:, 2] = 0.1 + 1e-9 * classes
    found = LogisticPath(features, classes, 2).fit(1.0)
    assert abs(found.weights).max() < 10.0


def test_a_label_without_a_row_is_never_answered() -> None:
    features = numpy.random.default_rng(3).normal(size=(30, 4))
    found = LogisticPath(features, (features[:, 0] > 0) * 2, 4).fit(1.0)(features)
    assert set(found.argmax(axis=1)) <= {0, 2}
    assert set(LogisticPath(features, numpy.full(30, 3), 4).fit(1.0)(features).argmax(axis=1)) == {3}


def test_a_ridge_finds_the_line() -> None:
    features = numpy.random.default_rng(4).normal(size=(50, 3))
    numbers = features @ numpy.array([[1.0, -2.0], [0.5, 0.0], [0.0, 3.0]]) + numpy.array([1.0, 2.0])
    assert RidgePath(features, numbers).fit(1e6)(features) == pytest.approx(numbers, abs=1e-3)


def test_the_strength_is_chosen_on_training_rows_alone() -> None:
    chance = numpy.random.default_rng(5)
    features = chance.normal(size=(60, 40))
    noise = Sample(features, chance.integers(0, 2, 60), numpy.arange(1, 61))
    kind = PROBED["classification"](("a", "b"))
    assert fitted(kind, noise, (1e-4, 1.0), 0).strength in (1e-4, 1.0)
    few = noise.rows(numpy.arange(6))
    assert fitted(kind, few, (1e-3, 1e-2, 1e-1), 0).strength == 1e-2


def test_rows_of_a_sample_take_all_their_words_with_them() -> None:
    words = numpy.arange(6.0)[:, None]
    sample = Sample(words, numpy.arange(6), numpy.array([1, 4, 6])).rows(numpy.array([2, 1]))
    assert sample.targets.tolist() == [4, 5, 1, 2, 3]
    assert sample.ends.tolist() == [2, 5]
    assert sample.features[:, 0].tolist() == [4.0, 5.0, 1.0, 2.0, 3.0]


def test_cosines_are_those_of_torch() -> None:
    vectors = numpy.random.default_rng(6).normal(size=(10, 4))
    left, right = torch.from_numpy(vectors).chunk(2)
    assert cosines(vectors)[:, 0] == pytest.approx(torch.cosine_similarity(left, right).numpy())
