"""Accuracy and macro-F1 from class numbers, to the last bit those of scikit-learn, whose import takes a second."""

from __future__ import annotations

import numpy


def accuracy(truth: numpy.ndarray, predicted: numpy.ndarray) -> float:
    """Return the share of rows whose predicted class is the true one.

    ``truth`` and ``predicted`` are arrays of class numbers, from 0, of the same length (not 0).

    >>> accuracy(numpy.array([0, 1, 1, 2]), numpy.array([0, 1, 2, 2]))
    0.75
    """
    return float(numpy.average(truth == predicted))


def macro_f1(truth: numpy.ndarray, predicted: numpy.ndarray) -> float:
    """Return the plain mean of the classes' F1, over the classes that occur in either array.

    F1 is ``2 tp / (rows of the class + predictions of it)``; see ``f1_score(average="macro")`` of
    scikit-learn.

    >>> macro_f1(numpy.array([0, 0, 1, 1]), numpy.array([0, 0, 0, 1]))
    0.7333333333333334
    """
    classes = int(max(truth.max(), predicted.max())) + 1
    true = numpy.bincount(truth, minlength=classes)
    found = numpy.bincount(predicted, minlength=classes)
    hits = numpy.bincount(truth[truth == predicted], minlength=classes)
    occur = true + found > 0
    return float(numpy.average(2.0 * hits[occur] / (true + found)[occur]))
