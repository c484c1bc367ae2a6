"""Every preset compiles on every kind of model, or is refused with a reason; what compiles does what it says."""

from __future__ import annotations

import pytest

from benchmarks.presets import COMMON, PROMISES, classes_of, row_of
from freezeplan.spec.extends import preset_names

FEW = ("albert", "bart", "distilbert", "gpt2", "llama", "mamba", "resnet", "swin", "xlm")
# What must not be refused: one stack, untied heads, biases, norms.
WHOLE = {("distilbert", "AutoModelForSequenceClassification"), ("gpt2", "AutoModelForSequenceClassification")}


def test_every_preset_makes_a_promise() -> None:
    assert set(preset_names()) == PROMISES.keys()


def types() -> list:
    more = [pytest.param(name, marks=pytest.mark.slow) for name in COMMON if name not in FEW]
    return [*FEW, *more]


@pytest.mark.parametrize("model_type", types())
def test_a_preset_compiles_and_keeps_its_promise_or_says_why_not(model_type: str) -> None:
    for class_name in classes_of(model_type):
        _, _, cells = row_of((model_type, class_name))
        assert isinstance(cells, dict), cells
        wrong = {name: cell.message for name, cell in cells.items() if cell.verdict == "wrong"}
        assert wrong == {}
        if (model_type, class_name) in WHOLE:
            assert {cell.verdict for cell in cells.values()} == {"ok"}


def test_a_head_that_is_an_embedding_is_frozen_with_it() -> None:
    _, _, cells = row_of(("gpt2", "AutoModelForCausalLM"))
    assert isinstance(cells, dict)
    refused = {name: cell.codes for name, cell in cells.items() if cell.verdict != "ok"}
    assert refused == {"linear_probe": ("FP305",)}
