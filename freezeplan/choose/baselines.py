"""What needs no network, for scale: the most frequent answer, and counts of words."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy

from freezeplan.choose.kinds import PROBED, ProbedKind, ProbedTags, Sample, fitted
from freezeplan.choose.outcomes import Outcome, mean_of
from freezeplan.choose.probe_records import Baseline
from freezeplan.choose.word_retrieval import WordRetrieval
from freezeplan.data.modality import IMAGE
from freezeplan.data.pairs import TextPairs
from freezeplan.data.split import Split, TaskData

TRAIN, VALIDATION = "train", "validation"
MANY = 1000
EMBEDDING = "embedding"


def baselines(task: TaskData, seed: int) -> tuple[Baseline, ...]:
    """Return the baselines of a task whose rows were read, scored on its validation data.

    Texts: the most frequent label, and TF-IDF (words and pairs of neighbours) with the kind's own linear fit; two
    texts with a score, and texts that are to be found: the cosine of their TF-IDF. Words: the most frequent tag, and
    each word's own most frequent tag. Images: the most frequent label.
    """
    if task.kind.name == EMBEDDING:
        return (_told("cosine of TF-IDF", _by_words_found(task)),)
    if task.kind.compares:
        return (_told("cosine of TF-IDF", _by_words_in_common(task)),)
    kind = PROBED[task.kind.name](task.labels)
    train, validation = (_bare(task, split) for split in (TRAIN, VALIDATION))
    plain = kind.plain(train, validation)
    found = [_told(*plain)] if plain is not None else []
    if isinstance(kind, ProbedTags):
        found.append(_told("each word's most frequent tag", _by_lexicon(kind, task, train, validation)))
    elif task.splits[TRAIN].kind is not IMAGE:
        found.append(_told("TF-IDF and a linear fit", _by_words(kind, task, train, validation, seed)))
    return tuple(found)


def _told(name: str, outcome: Outcome) -> Baseline:
    return Baseline(name, outcome.score, outcome.error)


def _bare(task: TaskData, split: str) -> Sample:
    """Return the targets of a split without features."""
    rows = task.splits[split]
    if task.kind.reads_words:
        targets = rows.targets[0].numbered(task.labels)
        return Sample(numpy.zeros((len(targets), 0)), targets, rows.targets[0].ends)
    targets = task.targets(split)
    return Sample(numpy.zeros((len(rows), 0)), targets, numpy.arange(1, len(rows) + 1))


def _by_words(kind: ProbedKind, task: TaskData, train: Sample, validation: Sample, seed: int) -> Outcome:
    texts = _texts(task.splits[TRAIN])
    counts = _word_counts(len(texts))
    seen = counts.fit_transform(texts)
    other = counts.transform(_texts(task.splits[VALIDATION]))
    fit = fitted(kind, Sample(seen, train.targets, train.ends), kind.sparse_strengths, seed)
    return kind.outcome(fit.map(other), validation)


def _word_counts(texts: int) -> Any:
    """Return what counts words and pairs of neighbours; of many texts, only what is in two of them."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    least = 2 if texts >= MANY else 1
    return TfidfVectorizer(token_pattern=r"(?u)\S+", ngram_range=(1, 2), min_df=least, sublinear_tf=True)


def _texts(rows: Split) -> list[str]:
    if isinstance(rows.inputs, TextPairs):
        return [" ".join(pair) for pair in rows.inputs]
    return list(rows.inputs)


def _by_words_in_common(task: TaskData) -> Outcome:
    """Return how far the cosine of TF-IDF goes with the scores; words are weighed by the training texts, if any."""
    sides = [list(side) for side in zip(*task.splits[VALIDATION].inputs, strict=True)]
    counts = _learned_counts(task)
    left, right = (counts.transform(side) for side in sides)
    both = numpy.asarray(left.multiply(right).sum(axis=1)).reshape(-1, 1)
    validation = _bare(task, VALIDATION)
    return PROBED[task.kind.name](()).outcome(both, validation)


def _by_words_found(task: TaskData) -> Outcome:
    """Return how soon anchors find their positives by the cosine of TF-IDF; a text that comes again is one."""
    rows = task.splits[VALIDATION].inputs
    numbers = {
        text: number for number, text in enumerate(dict.fromkeys(text for row in rows for text in row))
    }
    found = WordRetrieval(_learned_counts(task).transform(list(numbers)))
    found.note([[numbers[text] for text in row] for row in rows])
    return mean_of(found.reciprocal_ranks())


def _learned_counts(task: TaskData) -> Any:
    """Return what counts the words of several texts a row, weighed by the training texts, if there are any."""
    learned = task.splits.get(TRAIN, task.splits[VALIDATION])
    texts = [text for row in learned.inputs for text in row]
    return _word_counts(len(texts)).fit(texts)


def _by_lexicon(kind: ProbedTags, task: TaskData, train: Sample, validation: Sample) -> Outcome:
    seen: dict[str, Counter[int]] = {}
    for word, tag in zip(_words(task.splits[TRAIN]), train.targets.tolist(), strict=True):
        seen.setdefault(word, Counter())[tag] += 1
    usual = int(numpy.bincount(train.targets).argmax())
    best = {word: min(tags, key=lambda tag: (-tags[tag], tag)) for word, tags in seen.items()}
    tags = [best.get(word, usual) for word in _words(task.splits[VALIDATION])]
    return kind.scored(numpy.array(tags), validation)


def _words(rows: Split) -> list[str]:
    return [word for row in rows.inputs for word in row]
