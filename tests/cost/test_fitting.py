"""Batches that fit: the largest whose predicted peak is within a budget, found with few looks."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from freezeplan.api import load_spec
from freezeplan.apply import apply_freeze
from freezeplan.apply.recomputing import checkpoint_above
from freezeplan.cost.estimating import estimate_cost
from freezeplan.cost.fitting import MOST_ROWS, fit_batches, largest_within
from freezeplan.cost.records import PhaseCost
from freezeplan.cost.tracking import LiveBytes
from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.build import build_meta_model
from freezeplan.models.resolve import resolve_source
from freezeplan.models.sources import inventory_for
from freezeplan.plan import compile_plan
from freezeplan.plan.records import Plan
from freezeplan.spec.tables import Spec

CONFIG = {
    "model_type": "bert",
    "vocab_size": 500,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
RULES = [{"match": "**", "state": "frozen"}, {"match": ["@layers[-1:]", "heads"], "state": "trainable"}]
LENGTH = 16


def asked(
    train: dict[str, Any] | None = None, model: dict[str, Any] | None = None, **more: Any
) -> tuple[Spec, Plan]:
    """Return a spec of a small BERT whose upper half trains, and its plan."""
    task = {"name": "topic", "labels": ["a", "b"]}
    table = {
        "model": {"config": CONFIG, **(model or {})},
        "rule": RULES,
        "task": [task],
        "train": train or {},
    }
    spec = load_spec(table | more)
    return spec, compile_plan(inventory_for(spec), spec)


@cache
def memory(key: str = "", value: Any = None) -> PhaseCost:
    """Return the cost of the one phase, a key of ``[train]`` or ``[model]`` set."""
    model, train = ({key: value}, {}) if key == "frozen_dtype" else ({}, {key: value} if key else {})
    (phase,) = estimate_cost(*asked(train, model), 8, LENGTH).phases
    return phase


@given(
    st.integers(0, 10**9), st.integers(1, 10**7), st.integers(1, 4000), st.integers(0, 99), st.integers(1, 9)
)
def test_the_number_found_is_the_largest_within_and_few_are_tried(
    fixed: int, row: int, answer: int, kink: int, slope: int
) -> None:
    tried: list[int] = []

    def peak(rows: int) -> int:
        tried.append(rows)
        return fixed + row * rows + slope * max(0, rows - kink) * row

    budget = peak(answer) + row // 2
    tried.clear()
    rows, within, beyond = largest_within(peak, budget, peak(1))
    assert rows == answer and within <= budget < beyond
    assert (within, beyond) == (peak(rows), peak(rows + 1)) and len(set(tried)) <= 16


def test_more_than_anybody_asks_about_is_not_asked() -> None:
    assert largest_within(lambda rows: rows, 10 * MOST_ROWS, 1) == (MOST_ROWS, MOST_ROWS, MOST_ROWS)


def test_each_phase_has_its_batch_and_one_row_more_is_too_much() -> None:
    body = {"name": "head", "epochs": 1, "rule": [{"match": "@layers", "state": "frozen"}]}
    thaw = {"name": "top", "epochs": 1, "rule": [{"match": "@layers[-1:]", "state": "trainable"}]}
    spec, plan = asked(phase=[body, thaw])
    budget = 2 << 20
    fitting = fit_batches(spec, plan, budget, LENGTH)
    top, more = fitting.phases
    assert fitting.rows == more.rows < top.rows
    assert all(item.peak <= budget < item.beyond for item in fitting.phases)
    assert estimate_cost(spec, plan, top.rows + 1, LENGTH).phases[0].memory.peak == top.beyond


def test_a_budget_below_one_row_is_refused() -> None:
    with pytest.raises(DiagnosticError) as caught:
        fit_batches(*asked(), 100_000, LENGTH)
    assert caught.value.diagnostics[0].code == "FP489"


def test_a_model_without_layers_that_run_again_has_no_such_cost() -> None:
    config = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    rules = [{"match": "**", "state": "trainable"}]
    spec, plan = asked({"gradient_checkpointing": True}, {"config": config}, rule=rules)
    with pytest.raises(DiagnosticError) as caught:
        estimate_cost(spec, plan)
    assert caught.value.diagnostics[0].code == "FP488"


def test_weights_that_rest_take_half_the_bytes_and_activations_as_many() -> None:
    whole, narrow = memory().memory, memory("frozen_dtype", "bfloat16").memory
    _, plan = asked(model={"frozen_dtype": "bfloat16"})
    resting = set(plan.at_rest)
    saved = sum(2 * param.numel for param in plan.params if param.name in resting)
    assert whole.weights - narrow.weights == saved and whole.saved == narrow.saved


def test_layers_that_run_again_keep_less_and_work_more() -> None:
    plain, again = memory(), memory("gradient_checkpointing", True)
    assert again.memory.saved < plain.memory.saved / 2 and again.memory.peak < plain.memory.peak
    assert again.step.forward == plain.step.forward and again.step.backward > plain.step.backward


def test_a_precision_of_16_bits_saves_smaller_activations() -> None:
    plain, half = memory(), memory("precision", "bf16")
    assert half.memory.saved < plain.memory.saved and half.memory.weights == plain.memory.weights


@pytest.mark.parametrize("train", [{"gradient_checkpointing": True}, {"precision": "bf16"}])
def test_fake_tensors_that_rest_save_the_bytes_of_real_ones(train: dict[str, Any]) -> None:
    spec, plan = asked(train, {"frozen_dtype": "bfloat16"})
    predicted = estimate_cost(spec, plan, 8, LENGTH).phases[0].memory
    model = build_meta_model(resolve_source(spec), spec, {"topic": ("a", "b")}).to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data.zero_()
    apply_freeze(model, plan)
    if train.get("gradient_checkpointing"):
        checkpoint_above(model, random=False)
    live = LiveBytes()
    for tensor in (*model.parameters(), *model.buffers()):
        live.add(tensor)
    ids = torch.ones(8, LENGTH, dtype=torch.int64)
    with live, live.window() as forward:
        batch = {"input_ids": ids.clone(), "attention_mask": ids.clone()}
        loss = model(task="topic", **batch).float().sum()
    assert loss.requires_grad and forward.end - forward.start == pytest.approx(predicted.saved, rel=0.02)
    assert sum(
        item.detach().untyped_storage().nbytes() for item in (*model.parameters(), *model.buffers())
    ) == (predicted.weights)
