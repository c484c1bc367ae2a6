"""Smoothing and weights of classes: torch's cross-entropy, with sums divided by rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from freezeplan.data.task_rows import load_task_data
from freezeplan.diagnostics import DiagnosticError
from freezeplan.spec.tables import Spec
from freezeplan.tasks.classification import Classification
from tests.train.tiny import write_jsonl

LABELS = ("a", "b", "c")


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=9),
    st.dictionaries(st.sampled_from(LABELS), st.floats(0.125, 8.0, width=32)),
    st.integers(0, 2**31),
)
def test_weights_are_those_of_torch(truth: list[int], weights: dict[str, float], seed: int) -> None:
    out = torch.randn(len(truth), 3, generator=torch.Generator().manual_seed(seed))
    target = torch.tensor(truth)
    found = Classification(0.0, weights).over(LABELS).loss(out, target)
    factors = torch.tensor([weights.get(label, 1.0) for label in LABELS])
    expected = cross_entropy(out, target, weight=factors, reduction="sum")
    assert torch.allclose(found, expected, rtol=1e-5)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=9), st.floats(0.0, 0.9), st.integers(0, 2**31))
def test_smoothing_is_that_of_torch(truth: list[int], smoothing: float, seed: int) -> None:
    out = torch.randn(len(truth), 3, generator=torch.Generator().manual_seed(seed))
    target = torch.tensor(truth)
    expected = cross_entropy(out, target, label_smoothing=smoothing, reduction="sum")
    assert torch.allclose(Classification(smoothing).over(LABELS).loss(out, target), expected, rtol=1e-5)


def spec_of(place: Path, **more: Any) -> Spec:
    write_jsonl(
        place / "rows.jsonl", [{"text": f"text {number}", "label": "ab"[number % 2]} for number in range(4)]
    )
    task = {"name": "t", "data": {"train": str(place / "rows.jsonl")}}
    return Spec.model_validate({"task": [task | more]})


def test_a_task_takes_them_from_its_keys_in_the_order_of_its_labels(tmp_path: Path) -> None:
    (task,), _ = load_task_data(spec_of(tmp_path, class_weights={"b": 3.0}, label_smoothing=0.2))
    assert isinstance(task.kind, Classification)
    assert (task.kind.factors, task.kind.smoothing) == ([1.0, 3.0], 0.2)


def test_a_weight_of_no_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        load_task_data(spec_of(tmp_path, class_weights={"bb": 3.0}))
    (found,) = caught.value.diagnostics
    assert (found.code, found.where) == ("FP459", "task[1].class_weights.bb")
    assert found.help == "did you mean `b`?"
