"""Evaluation keeps counts, not logits, and takes no more rows at once than a CPU's caches like."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from freezeplan.prefix.examples import ROWS_ON_CPU
from freezeplan.train.evaluation import evaluate
from freezeplan.train.forward import Forward
from freezeplan.train.predict import predict
from freezeplan.train.run import train
from freezeplan.train.setup import Setup, prepare
from tests.train.tiny import toy_spec


def made(toy: Path) -> tuple[Setup, Forward]:
    setup = prepare(toy_spec(toy))
    return setup, Forward(setup.model, setup.encoder, setup.device)


def test_no_batch_is_kept_while_the_next_one_runs(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup, forward = made(toy)
    logits, living, sizes = Forward.outputs, [], []

    def watched(self: Forward, task: str, split: Any, rows: Sequence[int]) -> torch.Tensor:
        gc.collect()
        assert not any(reference() is not None for reference in living)
        found = logits(self, task, split, rows)
        living.append(weakref.ref(found))
        sizes.append(len(rows))
        return found

    monkeypatch.setattr(Forward, "outputs", watched)
    evaluate(forward, setup.data["train"], 128)
    assert len(living) > 4 and max(sizes) == ROWS_ON_CPU


@pytest.mark.parametrize("size", [5, 128])
def test_the_scores_are_those_of_all_rows_at_once(toy: Path, size: int) -> None:
    setup, forward = made(toy)
    scores = evaluate(forward, setup.data["train"], size)
    setup.model.eval()
    for task, split in setup.data["train"].items():
        rows = range(len(split))
        with torch.no_grad():
            logits, truth = forward.outputs(task, split, rows), split.target(rows, forward.device)
        assert scores[task]["loss"] == pytest.approx(float(cross_entropy(logits, truth)), rel=1e-6)
        assert scores[task]["accuracy"] == float((logits.argmax(dim=1) == truth).double().mean())


def test_answers_come_in_the_order_of_the_inputs_and_do_not_depend_on_their_neighbours(
    toy: Path, tmp_path: Path
) -> None:
    train(toy_spec(toy, train={"epochs": 1}), tmp_path / "run")
    texts = ["a" + " apple" * (number * 7 % 11) for number in range(2 * ROWS_ON_CPU + 3)]
    together = list(predict(tmp_path / "run", texts))
    assert [answer["text"] for answer in together] == texts
    for place in (0, 1, 40, len(texts) - 1):
        (alone,) = predict(tmp_path / "run", [texts[place]])
        for task in ("topic", "mood"):
            assert alone[task]["label"] == together[place][task]["label"]
            assert alone[task]["score"] == pytest.approx(together[place][task]["score"], abs=1e-5)
