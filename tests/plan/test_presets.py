"""Every preset compiles on every kind of model, or is refused with a reason; what compiles does what it says."""

from __future__ import annotations

import pytest

from benchmarks.presets import COMMON, PROMISES, classes_of, row_of
from freezeplan.models.sources import inventory_for
from freezeplan.plan import compile_plan
from freezeplan.spec.extends import preset_names
from freezeplan.spec.reading import load_spec

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


BERT = {
    "model_type": "bert",
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "num_attention_heads": 1,
    "vocab_size": 9,
}


def advice_of(table: dict) -> list[str]:
    tasks = [{"name": "topic", "labels": ["a", "b"]}]
    spec = load_spec({"model": {"config": BERT}, "task": tasks, **table})
    return [item.code for item in compile_plan(inventory_for(spec), spec).diagnostics]


def test_a_preset_says_nothing_of_its_own_rule_over_a_pooler_that_tasks_do_not_read() -> None:
    rules = [{"match": "**", "state": "trainable"}]
    # The configuration alone provides no weights: nothing else is said of it.
    assert advice_of({"extends": "preset:llrd"}) == []
    assert advice_of({"rule": rules}) == ["FP415"]
    assert advice_of({"extends": "preset:llrd", "rule": [{**rules[0], "name": "everything"}]}) == ["FP415"]


def test_nothing_is_said_of_the_default_mask_on_a_model_without_biases() -> None:
    llama = {"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 1}
    rules = [{"match": "**", "state": "trainable"}]
    table = {"model": {"config": {**llama, "vocab_size": 9, "intermediate_size": 8}, "class": "AutoModel"}}
    said = {}
    for mask in (None, ["@bias", "@norm"]):
        spec = load_spec({**table, "rule": rules, **({"optimizer": {"no_decay": mask}} if mask else {})})
        said[str(mask)] = [item.code for item in compile_plan(inventory_for(spec), spec).diagnostics]
    assert said == {"None": [], "['@bias', '@norm']": ["FP212"]}
