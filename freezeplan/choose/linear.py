"""Linear maps of features, fitted by scikit-learn: logistic regression and ridge."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy

MOST_STEPS = 1000
TOLERANCE = 1e-3
LEAST_SPREAD = 1e-3
SURE = 10.0
"""How far below (or above) the others an output stands that the training rows never (or always) ask for."""


@dataclass(frozen=True)
class LinearMap:
    """Map features ``(rows, width)`` to outputs ``(rows, outputs)``: ``weights`` ``(outputs, width)`` and ``bias``."""

    weights: numpy.ndarray
    bias: numpy.ndarray

    def __call__(self, features: Any) -> numpy.ndarray:
        """Return the outputs of some rows of features, which may be sparse."""
        return numpy.asarray(features @ self.weights.T) + self.bias


class Scaled:
    """Give each feature mean 0 and spread 1, as the training rows have it, and take that back from a map.

    Sparse features stay as they are.
    """

    def __init__(self, features: Any) -> None:
        self.dense = isinstance(features, numpy.ndarray)
        width = features.shape[1]
        self.mean = features.mean(axis=0) if self.dense else numpy.zeros(width)
        spread = features.std(axis=0) if self.dense else numpy.ones(width)
        # A feature that hardly moves stays as small as it is: scaled up, its weight would break a network that moves.
        self.spread = numpy.where(spread > LEAST_SPREAD * spread.max(initial=0.0), spread, 1.0)

    def of(self, features: Any) -> Any:
        """Return features as the fit sees them."""
        return (features - self.mean) / self.spread if self.dense else features

    def plain(self, weights: numpy.ndarray, bias: numpy.ndarray) -> LinearMap:
        """Return the map of the features themselves that a map of scaled ones stands for."""
        weights = weights / self.spread
        return LinearMap(weights, bias - weights @ self.mean)


class LogisticPath:
    """Fit classes ``0 … outputs - 1`` at one strength after another, each from where the last one ended.

    The strength is scikit-learn's ``C``: larger ones hold the weights less.
    """

    def __init__(self, features: Any, classes: numpy.ndarray, outputs: int) -> None:
        from sklearn.linear_model import LogisticRegression

        self.scaled, self.outputs, self.classes = Scaled(features), outputs, classes
        self.features = self.scaled.of(features)
        self.model = LogisticRegression(tol=TOLERANCE, max_iter=MOST_STEPS, warm_start=True)

    def fit(self, strength: float) -> LinearMap:
        """Return the map to one logit per class; a class without a row is far below the others."""
        present = numpy.unique(self.classes)
        if len(present) == 1:
            return self._filled(present, numpy.zeros((1, self.features.shape[1])), numpy.zeros(1))
        self.model.C = strength
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fit that is not yet at its end is still scored as it is
            self.model.fit(self.features, self.classes)
        weights, bias = self.model.coef_, self.model.intercept_
        if len(weights) == 1:
            weights, bias = numpy.concatenate([-weights, weights]) / 2, numpy.concatenate([-bias, bias]) / 2
        return self._filled(present, weights, bias)

    def _filled(self, present: numpy.ndarray, weights: numpy.ndarray, bias: numpy.ndarray) -> LinearMap:
        whole = numpy.zeros((self.outputs, weights.shape[1]))
        whole[present] = weights
        biases = numpy.full(self.outputs, bias.min() - SURE)
        biases[present] = bias
        return self.scaled.plain(whole, biases)


class FlagsPath:
    """Fit a logit per label, each by a logistic regression of its own, for flags ``(rows, labels)``."""

    def __init__(self, features: Any, flags: numpy.ndarray) -> None:
        self.paths = [LogisticPath(features, column.astype(int), 2) for column in flags.T]

    def fit(self, strength: float) -> LinearMap:
        """Return the map to one logit per label."""
        maps = [path.fit(strength) for path in self.paths]
        weights = numpy.stack([found.weights[1] - found.weights[0] for found in maps])
        return LinearMap(weights, numpy.array([found.bias[1] - found.bias[0] for found in maps]))


class RidgePath:
    """Fit numbers ``(rows, columns)`` by least squares; the strength is scikit-learn's ``1 / alpha``."""

    def __init__(self, features: Any, numbers: numpy.ndarray) -> None:
        self.scaled, self.numbers = Scaled(features), numbers
        self.features = self.scaled.of(features)

    def fit(self, strength: float) -> LinearMap:
        """Return the map to one number per column."""
        from sklearn.linear_model import Ridge

        model = Ridge(alpha=1.0 / strength).fit(self.features, self.numbers)
        width = self.numbers.shape[1]
        return self.scaled.plain(model.coef_.reshape(width, -1), numpy.reshape(model.intercept_, width))
