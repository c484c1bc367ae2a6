"""Reports in full are those of scikit-learn and seqeval, and do not depend on who counts."""

from __future__ import annotations

import json
import warnings
from random import Random

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import classification_report, confusion_matrix

from freezeplan.tasks import merged
from freezeplan.tasks.label_tally import LabelTally
from freezeplan.tasks.spans import SpanTally
from freezeplan.tasks.tally import Tally
from tests.tasks.made import Made, made
from tests.tasks.test_laws import scored

MEASURES = {"precision": "precision", "recall": "recall", "f1": "f1-score", "support": "support"}
Rows = dict[str, dict[str, float]]


def renamed(report: Rows) -> Rows:
    """Return a report of another library in the words of ours."""
    return {
        name: {ours: float(values[theirs]) for ours, theirs in MEASURES.items()}
        for name, values in report.items()
        if isinstance(values, dict)
    }


def flat(report: dict[str, Rows]) -> Rows:
    return report["each"] | {f"{name} avg": values for name, values in report["averages"].items()}


def assert_alike(ours: Rows, theirs: Rows) -> None:
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        assert values == pytest.approx(theirs[name], abs=1e-12), name


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 80))
def test_classes_and_confusion_are_those_of_scikit_learn(seed: int, classes: int, rows: int) -> None:
    chance = numpy.random.default_rng(seed)
    truth, predicted = (chance.integers(0, classes, rows) for _ in range(2))
    labels = [f"c{number:02}" for number in range(classes)]
    tally = Tally()
    tally.add(truth, predicted, 0.0)
    report = tally.report(labels)
    named = [[labels[number] for number in side] for side in (truth, predicted)]
    theirs = classification_report(*named, output_dict=True, zero_division=0)
    assert_alike(flat(report["classes"]), renamed(theirs))
    table = numpy.array([[report["confusion"].get(t, {}).get(p, 0) for p in labels] for t in labels])
    assert (table == confusion_matrix(*named, labels=labels)).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(1, 50))
def test_labels_are_those_of_scikit_learn(seed: int, width: int, rows: int) -> None:
    chance = numpy.random.default_rng(seed)
    true, predicted = (chance.integers(0, 2, (rows, width)) for _ in range(2))
    labels = [f"c{number}" for number in range(width)]
    tally = LabelTally()
    tally.add(true, predicted, 0.0)
    theirs = classification_report(true, predicted, target_names=labels, output_dict=True, zero_division=0)
    theirs.pop("samples avg")
    assert_alike(flat(tally.report(labels)["labels"]), renamed(theirs))


TAGS = ("O", "B-x", "I-x", "B-y", "I-y")
TRUE = ["B-x I-x O B-y", "I-x O B-y I-y", "B-x B-x O O"]
FOUND = ["B-x I-x O I-y", "B-x I-x B-y I-y", "I-x B-x O B-y"]
# What seqeval 1.2.2 gives as precision, recall, F1 and support, by default and in strict mode with IOB2.
DEFAULT = {
    "x": (3 / 4, 3 / 4, 3 / 4, 4),
    "y": (2 / 3, 1.0, 0.8, 2),
    "micro avg": (5 / 7, 5 / 6, 10 / 13, 6),
    "macro avg": (17 / 24, 7 / 8, 0.775, 6),
    "weighted avg": (13 / 18, 5 / 6, 23 / 30, 6),
}
STRICT = {
    "x": (2 / 3, 2 / 3, 2 / 3, 3),
    "y": (1 / 2, 1 / 2, 1 / 2, 2),
    "micro avg": (0.6, 0.6, 0.6, 5),
    "macro avg": (7 / 12, 7 / 12, 7 / 12, 5),
    "weighted avg": (0.6, 0.6, 0.6, 5),
}


def tally_of(true: list[list[str]], found: list[list[str]]) -> SpanTally:
    tally = SpanTally(TAGS)
    for one, other in zip(true, found, strict=True):
        tally.add([TAGS.index(tag) for tag in one], [TAGS.index(tag) for tag in other])
    return tally


def test_types_of_spans_are_what_seqeval_gave() -> None:
    report = tally_of([row.split() for row in TRUE], [row.split() for row in FOUND]).report(TAGS)
    for name, rows in (("spans", DEFAULT), ("strict_spans", STRICT)):
        expected = {row: dict(zip(MEASURES, values, strict=True)) for row, values in rows.items()}
        assert_alike(flat(report[name]), expected)


ROWS = st.lists(st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1), min_size=1)


@given(ROWS)
def test_types_of_spans_are_those_of_seqeval(rows: list[list[tuple[str, str]]]) -> None:
    metrics = pytest.importorskip("seqeval.metrics", reason="seqeval is not installed")
    from seqeval.scheme import IOB2

    true = [[one for one, _ in row] for row in rows]
    found = [[other for _, other in row] for row in rows]
    report = tally_of(true, found).report(TAGS)
    modes = {"spans": {}, "strict_spans": {"mode": "strict", "scheme": IOB2}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, mode in modes.items():
            if report[name]["each"]:
                theirs = metrics.classification_report(true, found, output_dict=True, zero_division=0, **mode)
                assert_alike(flat(report[name]), renamed(theirs))


@given(made(), st.integers(1, 7), st.randoms())
def test_a_report_of_merged_scorers_is_that_of_one(given: Made, size: int, chance: Random) -> None:
    batches = [range(len(given))[start : start + size] for start in range(0, len(given), size)]
    shares = [scored(given, batches[number::2]) for number in range(min(2, len(batches)))]
    chance.shuffle(shares)
    whole = given.kind.report(scored(given, batches), given.labels)
    assert given.kind.report(merged(shares), given.labels) == whole
    assert json.loads(json.dumps(whole)) == whole
