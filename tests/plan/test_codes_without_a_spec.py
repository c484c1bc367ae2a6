"""Diagnostics that no spec file with an offline architecture can trigger, and what ``why`` answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.records import Inventory
from freezeplan.models.sources import inventory_for
from freezeplan.plan.compiling import compile_plan
from freezeplan.plan.why import Why, explain
from freezeplan.spec.reading import load_spec
from tests.plan.matching import compiled, errors_of, named, rule

LAYERS = named(
    "backbone.embed.weight",
    "backbone.layer.0.weight",
    "backbone.layer.0.bias",
    "backbone.layer.1.weight",
    "head.weight",
    base="backbone",
    ties={"head.weight": "backbone.embed.weight"},
)


def test_classes_are_not_known_from_a_weights_file(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file(
        {"layer.weight": torch.zeros(2), "layer.bias": torch.zeros(2)}, tmp_path / "weights.safetensors"
    )
    table = {"source": str(tmp_path / "weights.safetensors")}
    rules = [rule("**", "frozen"), rule("class:LayerNorm", "trainable")]
    spec = load_spec({"model": table, "optimizer": {"no_decay": []}, "rule": rules})
    with pytest.raises(DiagnosticError) as caught:
        compile_plan(inventory_for(spec), spec)
    assert [(item.code, item.where) for item in caught.value.diagnostics] == [("FP207", "rule[2].match[1]")]


def quantised(dtype: str) -> Inventory:
    """Return an inventory with one tensor of an integer format."""
    plain = named("a.weight", "a.bias")
    return replace(plain, params=(replace(plain.params[0], dtype=dtype), plain.params[1]))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "bool"])
def test_a_quantised_tensor_cannot_be_trained(dtype: str) -> None:
    (error,) = errors_of(quantised(dtype), rule("**", "trainable"))
    assert (error.code, error.where) == ("FP411", "rule[1].state")
    assert "`a.weight`" in error.message
    plan = compiled(quantised(dtype), rule("a.weight", "frozen"), rule("a.bias", "trainable"))
    assert plan.names(trainable=True) == ("a.bias",)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "complex64"])
def test_floating_formats_can(dtype: str) -> None:
    assert compiled(quantised(dtype), rule("**", "trainable")).names(trainable=False) == ()


def why(name: str) -> Why:
    """Explain one parameter under a spec with a refinement, a repetition and an override."""
    rules = [
        rule("**", "frozen", name="all", lr_mult=0.5),
        rule("layer", "trainable", name="layers"),
        rule("**.bias", "trainable", name="biases", lr=0.25, override=["layers"]),
        rule("layer.0", "frozen", name="bottom", override=["biases"]),
    ]
    return explain(LAYERS, load_spec({"optimizer": {"no_decay": ["**.bias"]}, "rule": rules}), name)


def test_why_tells_every_rule_that_touched_a_parameter_and_which_won() -> None:
    told = [
        (touch.rule, touch.property, touch.value, touch.won) for touch in why("backbone.layer.0.bias").touches
    ]
    assert told == [
        ("all", "state", "frozen", False),
        ("all", "lr_mult", 0.5, False),
        ("layers", "state", "trainable", False),
        ("biases", "state", "trainable", False),
        ("biases", "lr", 0.25, True),
        ("bottom", "state", "frozen", True),
    ]


def test_why_takes_any_name_of_a_tensor_and_leaves_out_the_base_model() -> None:
    assert why("layer.1.weight") == replace(why("backbone.layer.1.weight"), asked="layer.1.weight")
    assert why("head.weight").names == why("embed.weight").names == ("backbone.embed.weight", "head.weight")


def test_an_unknown_name_is_refused_with_close_ones() -> None:
    with pytest.raises(DiagnosticError) as caught:
        why("backbone.layer.0.wieght")
    (error,) = caught.value.diagnostics
    assert error.code == "FP213"
    assert "`backbone.layer.0.weight`" in error.help


def help_of(model: Inventory, pattern: str) -> str:
    (error,) = errors_of(model, rule("**", "frozen"), rule(pattern, "trainable"))
    return error.help or ""


def test_the_help_for_an_old_path_selects_what_was_meant_and_no_more() -> None:
    model = named("model.lang.layers.0.weight", "model.lang.layers.1.weight", "model.vision.weight")
    assert help_of(model, "model.lang.model.layers.1").endswith("there is a `model.lang.layers.1`")
    assert help_of(model, "lang.encoder") == "there is a `model.lang`, which has `layers`"
    assert (
        help_of(model, "lang.layers.1") == "there is a `model.lang`; `**.lang.layers.1` finds it at any depth"
    )


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("taska", "did you mean `'task a'`?"),
        ("task b", "`'task b'`"),
        ("task b.weight", "`'task b'.weight`"),
        ("x/y", "`'x/y'`"),
        ("[CLS]", "`'[CLS]'`"),
        ("@k", "`'@k'`"),
        ("'@heads'", "take the quotes inside the quotes out"),
    ],
)
def test_the_help_names_what_can_be_written(pattern: str, wanted: str) -> None:
    model = named("task a.weight", "x/y.weight", "[CLS].weight", "@k.weight")
    with pytest.raises(DiagnosticError) as caught:
        compiled(model, rule("**", "frozen"), rule(pattern, "trainable"))
    assert wanted in (caught.value.diagnostics[0].help or "")


@pytest.mark.parametrize(
    "pattern", ["task*a", "'task a'", '"task a".weight', "'x/y'.weight", "'[CLS]'", "**.'@k'", "'@k'.*"]
)
def test_what_the_help_names_finds_the_name(pattern: str) -> None:
    model = named("task a.weight", "x/y.weight", "[CLS].weight", "@k.weight")
    assert len(compiled(model, rule("**", "frozen"), rule(pattern, "trainable")).names(trainable=True)) == 1
