"""What other tools get wrong without a word, and what is right: one test for each compile-time row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.sources import inventory_for
from freezeplan.plan.compiling import compile_plan
from freezeplan.spec.reading import load_spec
from tests.plan.matching import assignments, codes_of, compiled, errors_of, named, rule, selected, states

PARTS = ("attention.q_proj.weight", "attention.q_proj.bias", "norm.weight", "norm.bias")
TWELVE = named(*(f"net.{i}.{part}" for i in range(12) for part in PARTS))
FROZEN = rule("**", "frozen", name="all")
LATER = {
    "NER": "token classification is not part of the language yet",
}
ELSEWHERE = {
    "2 DDP ranks, thaw in phase 1": "test_two_ranks_hold_the_same_bits_and_equal_one_process",
    "resume past the unfreeze epoch": "test_stopped_after_any_step_and_resumed_is_never_stopped",
}
RIGHT = {
    "`net.1` on a 12-layer net": "test_a_number_is_a_whole_segment",
    "`parms:`, `learning_rate:` typos": "test_typos_in_keys_are_errors",
    "its shipped schedule `layer.{0,11}.`": "test_braces_are_alternatives_and_not_a_quantifier",
    "a tied head named by regex": "test_a_tied_head_named_by_regex_is_told_of_the_tie",
    "NeMo `optim_param_groups: encoder` model has `encoder_proj` too": "test_what_no_rule_names_is_an_error",
    "axolotl `layers.1` / `lr_groups` 12 layers": "test_a_layers_biases_and_norms_get_the_layers_rate",
    "`head` ×10": "test_head_is_not_part_of_attention_heads",
    "on a norm": "test_a_rate_on_a_norm_keeps_its_decay_rule",
    "`context_proj`": "test_a_name_inside_a_name_is_not_matched",
    "LLaMA-Factory, last 1 of 4 layers 4 experts": "test_a_layers_number_is_not_an_experts",
    'PEFT `["q_proj", "qq_proj"]`, `layers_to_transform=[0, 99]`': "test_dead_entries_are_errors",
    "timm layer decay on a plain Hugging Face model": "test_layer_decay_knows_the_depth_of_any_model",
    '"frozen" body': "test_a_frozen_body_has_its_dropout_off",
}


def test_every_row_has_its_test_or_a_reason(shared: Path) -> None:
    table = (shared / "facts" / "peers.md").read_text("utf-8").split("## Where they go wrong")[1]
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| tool")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    texts = [" ".join(cell for cell in row[:2] if cell) for row in cells]
    known = [*RIGHT, *ELSEWHERE, *LATER]
    assert [text for text in texts if sum(key in text for key in known) != 1] == []
    assert len(texts) == len(known)


def test_every_named_test_exists() -> None:
    assert [name for name in RIGHT.values() if name not in globals()] == []


def test_every_test_that_stands_elsewhere_exists() -> None:
    tests = "\n".join(path.read_text("utf-8") for path in Path(__file__).parents[1].rglob("test_*.py"))
    assert [name for name in ELSEWHERE.values() if f"def {name}(" not in tests] == []


def test_a_number_is_a_whole_segment() -> None:
    assert selected(TWELVE, "net.1")[0] == {f"net.1.{part}" for part in PARTS}


def test_typos_in_keys_are_errors() -> None:
    for key in ("parms", "learning_rate", "lr_mul"):
        with pytest.raises(DiagnosticError) as caught:
            load_spec({"rule": [rule("**", "frozen") | {key: 1.0}]})
        assert [item.code for item in caught.value.diagnostics] == ["FP101"]


def test_braces_are_alternatives_and_not_a_quantifier() -> None:
    assert selected(TWELVE, "net.{0,11}")[0] == {f"net.{i}.{part}" for i in (0, 11) for part in PARTS}
    assert codes_of(TWELVE, FROZEN, rule("net.{0,11}.", "trainable")) == ["FP140"]


TIED = named("wte.weight", "h.0.weight", "lm_head.weight", ties={"lm_head.weight": "wte.weight"})


def test_a_tied_head_named_by_regex_is_told_of_the_tie() -> None:
    (error,) = errors_of(TIED, FROZEN, rule(r"re:lm_head\.weight", "trainable"))
    assert error.code == "FP305"
    assert "`wte.weight`" in error.message
    assert "`lm_head.weight`" in error.message


def test_what_no_rule_names_is_an_error() -> None:
    inventory = named("encoder.weight", "encoder_proj.weight", "encoder_proj.bias")
    (error,) = errors_of(inventory, rule("encoder", "trainable"))
    assert (error.code, error.notes) == ("FP301", ("`encoder_proj` (2 tensors)",))


def test_a_layers_biases_and_norms_get_the_layers_rate() -> None:
    plan = compiled(TWELVE, rule("**", "trainable", lr=1e-4), rule("net.1", lr=1e-3))
    rates = {name: what.lr for name, what in assignments(plan).items()}
    assert rates == {name: 1e-3 if name.startswith("net.1.") else 1e-4 for name in rates}


def test_head_is_not_part_of_attention_heads() -> None:
    inventory = named("layer.attention_heads.weight", "head.weight")
    plan = compiled(inventory, FROZEN, rule("head", "trainable", lr_mult=10.0))
    assert states(plan) == {"layer.attention_heads.weight": "frozen", "head.weight": "trainable"}


def test_a_rate_of_zero_is_not_taken_for_freezing() -> None:
    with pytest.raises(DiagnosticError) as caught:
        load_spec({"rule": [rule("**", "trainable", lr_mult=0.0)]})
    assert [item.code for item in caught.value.diagnostics] == ["FP110"]


def test_a_rate_on_a_norm_keeps_its_decay_rule() -> None:
    inventory = named("bn.weight", "fc.weight", role_nodes={"norm": ("bn",)})
    by_rule = compiled(
        inventory, rule("**", "trainable"), rule("@norm", weight_decay=0.0), rule("bn", lr_mult=10.0)
    )
    by_mask = compiled(inventory, rule("**", "trainable"), rule("bn", lr_mult=10.0), no_decay=["@norm"])
    for plan in (by_rule, by_mask):
        norm = assignments(plan)["bn.weight"]
        assert (norm.lr, norm.weight_decay) == (2e-4, 0.0)
        assert assignments(plan)["fc.weight"].weight_decay == 0.01


def test_a_name_inside_a_name_is_not_matched() -> None:
    inventory = named("text.weight", "context_proj.weight")
    plan = compiled(inventory, rule("**", "trainable"), rule("**.text", "frozen"))
    assert states(plan) == {"text.weight": "frozen", "context_proj.weight": "trainable"}


def test_freezing_a_tied_head_does_not_freeze_the_embeddings_silently() -> None:
    assert codes_of(TIED, rule("**", "trainable"), rule("lm_head", "frozen")) == ["FP305"]


def test_a_layers_number_is_not_an_experts() -> None:
    inventory = named(*(f"layers.{i}.experts.{j}.weight" for i in range(4) for j in range(4)))
    assert selected(inventory, "layers.3")[0] == {f"layers.3.experts.{j}.weight" for j in range(4)}


def test_dead_entries_are_errors() -> None:
    entries = ["net.*.attention.q_proj", "net.*.attention.qq_proj", "net.{0,99}.norm"]
    found = errors_of(TWELVE, FROZEN, rule(entries, "trainable"))
    assert [(item.code, item.where) for item in found] == [
        ("FP201", "rule[2].match[2]"),
        ("FP201", "rule[2].match[3]"),
    ]
    assert found[0].help == "did you mean `q_proj`?"


def test_a_frozen_body_has_its_dropout_off() -> None:
    torch = pytest.importorskip("torch")
    model: Any = torch.nn.Module()
    model.body = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.5))
    model.head = torch.nn.Linear(4, 2)
    from freezeplan import build_param_groups

    build_param_groups(model, {"rule": [rule("body", "frozen"), rule("head", "trainable")]})
    model.train()
    batch = torch.ones(3, 4)
    assert torch.equal(model.body(batch), model.body(batch))
    assert model.head.training


def test_layer_decay_knows_the_depth_of_any_model() -> None:
    config = {"model_type": "bert", "num_hidden_layers": 3, "hidden_size": 8, "intermediate_size": 8}
    spec = load_spec(
        {
            "model": {"config": {**config, "num_attention_heads": 2, "vocab_size": 20}},
            "optimizer": {"lr": 1.0},
            "rule": [rule("**", "trainable", layer_decay={"formula": "timm", "rate": 0.5})],
        }
    )
    rates = {name: what.lr for name, what in assignments(compile_plan(inventory_for(spec), spec)).items()}
    layers = [rates[f"encoder.layer.{at}.output.dense.weight"] for at in range(3)]
    assert layers == [layers[2] / 4, layers[2] / 2, layers[2]]
    assert rates["embeddings.word_embeddings.weight"] == layers[0] / 2
