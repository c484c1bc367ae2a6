"""What a linear probe is for each kind of task: how it is fitted, and how its outputs are scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy

from freezeplan.choose.linear import FlagsPath, LinearMap, LogisticPath, RidgePath
from freezeplan.choose.outcomes import Outcome, correlation, f1, mean_of, share_of_hits
from freezeplan.tasks.retrieval import Retrieval
from freezeplan.tasks.spans import spans_of


@dataclass(frozen=True)
class Sample:
    """Hold features ``(terms, width)`` and targets ``(terms, …)``; ``ends`` says where the terms of each row end."""

    features: Any
    targets: numpy.ndarray
    ends: numpy.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    def rows(self, chosen: numpy.ndarray) -> Sample:
        """Return some rows, in the order that is given."""
        starts = numpy.concatenate([[0], self.ends[:-1]])[chosen]
        counts = self.ends[chosen] - starts
        ends = numpy.cumsum(counts)
        places = numpy.repeat(starts - (ends - counts), counts) + numpy.arange(counts.sum())
        return Sample(self.features[places], self.targets[places], ends)


class ProbedKind(ABC):
    """Fit and score one kind of task; ``labels`` name its outputs."""

    strengths: ClassVar[tuple[float, ...]] = (1e-3, 1e-2, 1e-1, 1.0)
    """What is tried on standardised features, the strongest hold on the weights first."""
    sparse_strengths: ClassVar[tuple[float, ...]] = (1.0, 10.0, 100.0)
    """What is tried on TF-IDF."""
    error: ClassVar[str] = "bootstrap"

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)

    def targets(self, given: Any) -> numpy.ndarray:
        """Return the targets of all terms of what a task's kind has encoded."""
        return given

    def compared(self, vectors: numpy.ndarray, texts: int) -> numpy.ndarray:
        """Return what is scored of the vectors of all first texts, then of all second ones, and so on."""
        return vectors

    @abstractmethod
    def path(self, sample: Sample) -> Any:
        """Return what fits a sample at one strength after another."""

    @abstractmethod
    def outcome(self, outputs: numpy.ndarray, sample: Sample) -> Outcome:
        """Score outputs ``(terms, outputs)`` by the kind's first metric."""

    @abstractmethod
    def plain(self, train: Sample, sample: Sample) -> tuple[str, Outcome] | None:
        """Return the name and the outcome of an answer that is the same for every row, None where that is 0."""


class ProbedClasses(ProbedKind):
    """Logistic regression; the share of rows that are right."""

    error = "binomial"

    def path(self, sample: Sample) -> LogisticPath:
        """Return the path of a multinomial logistic regression."""
        return LogisticPath(sample.features, sample.targets, len(self.labels))

    def outcome(self, outputs: numpy.ndarray, sample: Sample) -> Outcome:
        """Return the share of rows whose largest output is the right one."""
        return share_of_hits(outputs.argmax(axis=1) == sample.targets)

    def plain(self, train: Sample, sample: Sample) -> tuple[str, Outcome]:
        """Return the most frequent label."""
        most = numpy.bincount(train.targets).argmax()
        return "the most frequent label", share_of_hits(sample.targets == most)


class ProbedFlags(ProbedKind):
    """A logistic regression per label; F1 over all labels together."""

    def path(self, sample: Sample) -> FlagsPath:
        """Return the paths of all labels as one."""
        return FlagsPath(sample.features, sample.targets)

    def outcome(self, outputs: numpy.ndarray, sample: Sample) -> Outcome:
        """Return micro-F1 of the labels whose output is above 0."""
        return self._found(outputs > 0.0, sample)

    def plain(self, train: Sample, sample: Sample) -> tuple[str, Outcome]:
        """Return the most frequent label, alone."""
        found = numpy.zeros((len(sample), len(self.labels)), dtype=bool)
        found[:, train.targets.sum(axis=0).argmax()] = True
        return "the most frequent label", self._found(found, sample)

    def _found(self, found: numpy.ndarray, sample: Sample) -> Outcome:
        true = sample.targets.astype(bool)
        return f1(numpy.stack([(true & found).sum(axis=1), true.sum(axis=1), found.sum(axis=1)], axis=1))


class ProbedNumbers(ProbedKind):
    """Ridge regression; Pearson's correlation."""

    strengths = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    sparse_strengths = (1e-2, 1e-1, 1.0, 10.0)

    def path(self, sample: Sample) -> RidgePath:
        """Return the path of a ridge regression."""
        return RidgePath(sample.features, sample.targets)

    def outcome(self, outputs: numpy.ndarray, sample: Sample) -> Outcome:
        """Return the correlation of outputs and numbers."""
        return correlation(outputs, sample.targets)

    def plain(self, train: Sample, sample: Sample) -> None:
        """Return nothing: what never changes has no correlation."""


class ProbedTags(ProbedClasses):
    """Logistic regression over words; F1 of spans."""

    error = "bootstrap"

    def targets(self, given: Any) -> numpy.ndarray:
        """Return the tags of the words that have a token."""
        return given.codes[given.codes >= 0]

    def outcome(self, outputs: numpy.ndarray, sample: Sample) -> Outcome:
        """Return F1 of the spans of the largest outputs, as ``span_f1`` counts them."""
        return self.scored(outputs.argmax(axis=1), sample)

    def plain(self, train: Sample, sample: Sample) -> tuple[str, Outcome]:
        """Return the most frequent tag."""
        most = numpy.bincount(train.targets).argmax()
        return "the most frequent tag", self.scored(numpy.full(len(sample.targets), most), sample)

    def scored(self, tags: numpy.ndarray, sample: Sample) -> Outcome:
        """Return F1 of the spans of some tags, a number for each word."""
        counts = []
        for start, end in zip([0, *sample.ends[:-1].tolist()], sample.ends.tolist(), strict=True):
            true, found = (set(self._spans(side[start:end])) for side in (sample.targets, tags))
            counts.append((len(true & found), len(true), len(found)))
        return f1(numpy.array(counts))

    def _spans(self, codes: numpy.ndarray) -> list[tuple[str, int, int]]:
        return spans_of([self.labels[code] for code in codes])


class ProbedPairs(ProbedNumbers):
    """Nothing is fitted: the cosine of two texts' vectors; Pearson's correlation."""

    def compared(self, vectors: numpy.ndarray, texts: int) -> numpy.ndarray:
        """Return the cosines ``(rows, 1)``."""
        return cosines(vectors)

    def path(self, sample: Sample) -> None:
        """Return nothing."""


class ProbedTexts(ProbedKind):
    """Nothing is fitted: how soon anchors find their positives among all texts, by cosines; MRR."""

    def compared(self, vectors: numpy.ndarray, texts: int) -> numpy.ndarray:
        """Return the vectors ``(rows, texts, width)``."""
        return numpy.stack(numpy.split(numpy.asarray(vectors), texts), axis=1)

    def path(self, sample: Sample) -> None:
        """Return nothing."""

    def outcome(self, outputs: numpy.ndarray, sample: Sample) -> Outcome:
        """Return the mean over the anchors of 1 / the rank of its best positive."""
        scorer = Retrieval(temperature=1.0)
        scorer.add(sample.targets.tolist(), outputs)
        return mean_of(scorer.reciprocal_ranks())

    def plain(self, train: Sample, sample: Sample) -> None:
        """Return nothing: equal vectors find nothing."""


PROBED: Mapping[str, type[ProbedKind]] = {
    "classification": ProbedClasses,
    "embedding": ProbedTexts,
    "multi_label": ProbedFlags,
    "regression": ProbedNumbers,
    "similarity": ProbedPairs,
    "token_classification": ProbedTags,
}
"""The kinds of tasks that have a linear probe."""
LANGUAGE = "causal_lm"
COMPARED = frozenset({*PROBED, LANGUAGE})
"""The kinds of tasks that are compared: a language model has no probe, but a perplexity."""
FEWEST = 10


@dataclass(frozen=True)
class Fitted:
    """Hold a map and the strength that was chosen for it."""

    map: LinearMap
    strength: float


def fitted(kind: ProbedKind, sample: Sample, strengths: Sequence[float], seed: int) -> Fitted:
    """Fit all rows of a sample at the strength that does best on a fifth of them after a fit of the others.

    Of fewer than ten rows none is held out, and the strength in the middle is taken.
    """
    chosen = strengths[len(strengths) // 2]
    if len(sample) >= FEWEST:
        order = numpy.random.default_rng(seed).permutation(len(sample))
        held, rest = (sample.rows(rows) for rows in numpy.split(order, [len(order) // 5]))
        path = kind.path(rest)
        scores = [kind.outcome(path.fit(item)(held.features), held).score for item in strengths]
        chosen = strengths[int(numpy.argmax(scores))]
    path = kind.path(sample)
    # Up to the strength along the same path: each fit begins where the one before it ended.
    maps = [path.fit(item) for item in strengths if item <= chosen]
    return Fitted(maps[-1], chosen)


def cosines(vectors: numpy.ndarray) -> numpy.ndarray:
    """Return the cosines ``(rows, 1)`` of vectors of all first texts, then of all second ones.

    >>> cosines(numpy.array([[1.0, 0.0], [2.0, 0.0]])).tolist()
    [[1.0]]
    """
    left, right = numpy.split(vectors.astype(numpy.float64), 2)
    lengths = numpy.linalg.norm(left, axis=1) * numpy.linalg.norm(right, axis=1)
    return ((left * right).sum(axis=1) / numpy.maximum(lengths, 1e-12))[:, None]
