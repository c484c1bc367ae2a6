"""A score as a function of sums over rows, so that its standard error comes from resampling the rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from freezeplan.tasks.token_tally import LARGEST

DRAWS = 200
SHARE, MEAN, F1, PEARSON, PERPLEXITY = "share", "mean", "f1", "pearson", "perplexity"
MOMENTS = 6


@dataclass(frozen=True)
class Outcome:
    """Hold what each row counts for, ``(rows, counts)``, and ``how`` the score comes from their sums.

    ``share``: of hits among rows; ``mean``: of a number per row; ``f1``: of hits, true and found ones; ``pearson``: of
    moments, per column; ``perplexity``: of losses and tokens, where less is better.
    """

    rows: numpy.ndarray
    how: str

    def statistic(self, sums: numpy.ndarray) -> numpy.ndarray:
        """Return the scores ``(…)`` of sums ``(…, counts)``."""
        return STATISTICS[self.how](sums)

    @property
    def score(self) -> float:
        """The score of all rows."""
        return float(self.statistic(self.rows.sum(axis=0)))

    @property
    def error(self) -> float:
        """The standard error of the score: binomial of a share, else by the bootstrap over rows."""
        if self.how == SHARE:
            return binomial_error(self.score, len(self.rows))
        return float(self._resampled.std(ddof=1))

    @property
    def _resampled(self) -> numpy.ndarray:
        return self.statistic(_draws(len(self.rows)) @ self.rows)

    def beyond(self, other: Outcome) -> tuple[float, float]:
        """Return how much higher the score is than another's on the same rows, and the difference's standard error.

        Both are resampled together, so that rows that are hard for both count for nothing.
        """
        return self.score - other.score, float((self._resampled - other._resampled).std(ddof=1))


def binomial_error(share: float, count: int) -> float:
    """Return the standard error of a share of independent rows: ``sqrt(p (1 - p) / n)``.

    >>> binomial_error(0.5, 100)
    0.05
    """
    return float(numpy.sqrt(share * (1.0 - share) / count))


def _draws(count: int) -> numpy.ndarray:
    """Return how often each of some rows is drawn in each of 200 samples with replacement, the same every time.

    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 6.4: more than 200 are seldom needed for a
    standard error.
    """
    chance = numpy.random.default_rng(count)
    found = numpy.empty((DRAWS, count))
    for draw in found:
        draw[:] = numpy.bincount(chance.integers(0, count, count), minlength=count)
    return found


def share_of_hits(right: numpy.ndarray) -> Outcome:
    """Return the outcome of rows that are right or wrong: the share that is right.

    >>> share_of_hits(numpy.array([True, False, True, True])).score
    0.75
    """
    rows = numpy.stack([right, numpy.ones(len(right))], axis=1).astype(numpy.float64)
    return Outcome(rows, SHARE)


def mean_of(values: numpy.ndarray) -> Outcome:
    """Return the outcome of a number per row: their mean.

    >>> mean_of(numpy.array([1.0, 0.5])).score
    0.75
    """
    return Outcome(numpy.stack([values, numpy.ones(len(values))], axis=1), MEAN)


def f1(counts: numpy.ndarray) -> Outcome:
    """Return the outcome of rows ``(hits, true, found)``: F1 over all of them together, 0 where there is nothing.

    >>> f1(numpy.array([[1, 1, 2], [0, 1, 0]])).score
    0.5
    """
    return Outcome(counts.astype(numpy.float64), F1)


def perplexity(losses: numpy.ndarray, tokens: numpy.ndarray) -> Outcome:
    """Return the outcome of rows of text: e to the mean loss of all their tokens.

    >>> round(perplexity(numpy.array([3.0, 1.0]), numpy.array([3, 1])).score, 4)
    2.7183
    """
    return Outcome(numpy.stack([losses, tokens], axis=1).astype(numpy.float64), PERPLEXITY)


def _share(sums: numpy.ndarray) -> numpy.ndarray:
    return sums[..., 0] / sums[..., 1]


def _perplexity(sums: numpy.ndarray) -> numpy.ndarray:
    return numpy.exp(numpy.minimum(sums[..., 0] / numpy.maximum(sums[..., 1], 1.0), LARGEST))


def _f1(sums: numpy.ndarray) -> numpy.ndarray:
    return 2.0 * sums[..., 0] / numpy.maximum(sums[..., 1] + sums[..., 2], 1.0)


def correlation(predicted: numpy.ndarray, true: numpy.ndarray) -> Outcome:
    """Return the outcome of numbers ``(rows, columns)``: Pearson's correlation, the mean over the columns.

    >>> given = numpy.array([[1.0], [2.0], [4.0]])
    >>> round(correlation(2 * given, given).score, 9), correlation(0 * given, given).score
    (1.0, 0.0)
    """
    left, right = (side - side.mean(axis=0) for side in (predicted.astype(float), true.astype(float)))
    ones = numpy.ones_like(left)
    moments = numpy.stack([ones, left, right, left * left, right * right, left * right], axis=2)
    return Outcome(moments.reshape(len(moments), -1), PEARSON)


def _pearson(sums: numpy.ndarray) -> numpy.ndarray:
    moments = sums.reshape(*sums.shape[:-1], -1, MOMENTS)
    count, x, y, xx, yy, xy = numpy.moveaxis(moments, -1, 0)
    spread = numpy.sqrt(numpy.maximum((xx - x * x / count) * (yy - y * y / count), 0.0))
    each = numpy.where(spread > 0.0, (xy - x * y / count) / numpy.where(spread > 0.0, spread, 1.0), 0.0)
    return each.mean(axis=-1)


STATISTICS = {SHARE: _share, MEAN: _share, F1: _f1, PEARSON: _pearson, PERPLEXITY: _perplexity}
