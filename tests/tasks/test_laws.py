"""What holds of every kind of task: losses are sums, scores do not depend on who counts, no target is lost."""

from __future__ import annotations

import json
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from freezeplan.spec.tables import Task
from freezeplan.tasks import TASK_KINDS, Answering, Scorer, merged
from tests.tasks.made import MAKERS, Made, encoded_of, made


def test_every_kind_can_be_written_and_is_made_here() -> None:
    written = Task.model_json_schema()["properties"]["kind"]
    assert written.get("enum", [written.get("const")]) == list(TASK_KINDS)
    assert MAKERS.keys() == TASK_KINDS.keys()


ROWWISE = [name for name, kind in TASK_KINDS.items() if kind.rowwise]


@given(made(ROWWISE))
def test_the_loss_of_a_batch_is_the_sum_over_its_rows(given: Made) -> None:
    rows = range(len(given))
    whole = given.kind.loss(given.outputs(rows), given.target(rows))
    alone = [given.kind.loss(given.outputs([row]), given.target([row])) for row in rows]
    assert (whole.dtype, whole.shape) == (torch.float32, ())
    assert float(whole) == pytest.approx(float(torch.stack(alone).double().sum()), rel=1e-4, abs=1e-5)


@given(made(), st.randoms())
def test_the_loss_of_a_batch_does_not_depend_on_the_order_of_its_rows(given: Made, chance: Random) -> None:
    rows = list(range(len(given)))
    whole = given.kind.loss(given.outputs(rows), given.target(rows))
    chance.shuffle(rows)
    assert (whole.dtype, whole.shape) == (torch.float32, ())
    mixed = given.kind.loss(given.outputs(rows), given.target(rows))
    assert float(mixed) == pytest.approx(float(whole), rel=1e-4, abs=1e-4)


@given(made(), st.data())
def test_terms_are_the_losses_of_targets_that_are_not_ignored(given: Made, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(given) - 1), max_size=8))
    expected = given.kind.losses(given.outputs(rows), given.target(rows)).numel() if rows else 0
    assert given.kind.terms(given.targets(), rows) == expected


@given(made(), st.data())
def test_no_target_is_lost_between_the_data_and_a_batch(given: Made, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(given) - 1), min_size=1, max_size=8))
    alone = given.kind.collate(given.targets(rows), range(len(rows)), torch.device("cpu"))
    if given.kind.most_columns == 0:
        assert torch.equal(alike(given.target(rows)), alike(alone))
    else:
        assert torch.equal(given.target(rows), alone)


def alike(texts: torch.Tensor) -> torch.Tensor:
    """Return which numbers of texts are equal: that is all they tell."""
    return texts.flatten()[:, None] == texts.flatten()[None, :]


@given(made(), st.integers(1, 7), st.integers(1, 3), st.randoms())
def test_scorers_merged_in_any_order_are_one(given: Made, size: int, parts: int, chance: Random) -> None:
    batches = [range(len(given))[start : start + size] for start in range(0, len(given), size)]
    shares = [scored(given, batches[number::parts]) for number in range(min(parts, len(batches)))]
    chance.shuffle(shares)
    whole = scored(given, batches).compute()
    assert merged(shares).compute() == whole
    assert tuple(whole) == given.kind.metric_names


def scored(given: Made, batches: list[range]) -> Scorer:
    """Count batches of rows."""
    scorer = given.kind.scorer(given.labels)
    for rows in batches:
        out, target = given.outputs(rows), given.target(rows)
        scorer.update(out, target, float(given.kind.losses(out, target).double().sum()))
    return scorer


@given(made(), st.booleans())
def test_answers_are_plain_and_one_for_each_row(given: Made, probabilities: bool) -> None:
    words, texts = None, []
    if given.kind.reads_words:
        encoded, texts = encoded_of(given.values[0]), given.values[0]
        words = encoded.padded("words", range(len(given)), 0)
    out = ["a text"] * len(given) if given.kind.own_head else given.out
    answers = given.kind.answers(out, given.labels, Answering(probabilities, words, texts))
    assert len(answers) == len(given)
    assert json.loads(json.dumps(answers)) == answers


@given(made())
def test_blank_targets_fit_the_outputs(given: Made) -> None:
    found = given.kind.losses(given.out, given.kind.blank(given.out))
    assert found.isfinite().all()
    assert found.numel() > 0 or given.kind.terms(given.targets(), range(len(given))) == 0
