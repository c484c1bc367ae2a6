"""PEFT's adapters are ordinary parameters beside the model that they adapt, and `@adapters` names them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import freezeplan
from freezeplan.apply import build_optimizer
from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.names import canonical_parameters
from tests.apply.wrapping import checkpointing, compiled, tiny, train, values

peft = pytest.importorskip("peft")
pytestmark = [
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

ATTENTION = {"bert": ["query", "value"], "llama": ["q_proj", "v_proj"], "vit": ["q_proj", "v_proj"]}


def lora(name: str, **more: Any) -> Any:
    """Return LoRA settings for one of the models; vision models have no task type in PEFT."""
    kind = {"bert": "SEQ_CLS", "llama": "CAUSAL_LM"}.get(name)
    return peft.LoraConfig(**{"task_type": kind, "target_modules": ATTENTION[name], "r": 2, **more})


SETTINGS = {
    "lora on bert": ("bert", lambda: lora("bert")),
    "lora on llama": ("llama", lambda: lora("llama", target_modules="all-linear")),
    "lora on vit": ("vit", lambda: lora("vit", modules_to_save=["classifier"])),
    "dora": ("bert", lambda: lora("bert", use_dora=True)),
    "lora on embeddings": ("bert", lambda: lora("bert", target_modules=["word_embeddings", "query"])),
    "a whole module saved": ("llama", lambda: lora("llama", modules_to_save=["embed_tokens"])),
    "new tokens": ("llama", lambda: lora("llama", trainable_token_indices=[1, 2])),
    "ia3": (
        "bert",
        lambda: peft.IA3Config(task_type="SEQ_CLS", target_modules=["key", "value"], feedforward_modules=[]),
    ),
    "prompt": ("llama", lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)),
    "prompt with a head": (
        "bert",
        lambda: peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3),
    ),
}


def adapted(case: str) -> tuple[str, Any]:
    """Return the name of a model, and that model under PEFT."""
    name, settings = SETTINGS[case]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return name, peft.get_peft_model(tiny(name), settings())


def only(match: Any) -> dict[str, Any]:
    """Return a spec that trains what matches and freezes the rest."""
    rules = [
        {"name": "base", "match": "**", "state": "frozen"},
        {"name": "some", "match": match, "state": "trainable"},
    ]
    return {"optimizer": {"lr": 1e-2}, "rule": rules}


@pytest.mark.parametrize("case", SETTINGS)
def test_all_but_the_adapters_is_the_plain_models_inventory(case: str) -> None:
    name, model = adapted(case)
    plain, found = inventory_of(tiny(name)), inventory_of(model)
    left = [info for info in found.params if "adapters" not in info.roles]
    assert tuple(replace(info, held=None) for info in left) == plain.params
    assert {info.held for info in left} <= {"unsaved", "idle"}
    assert (found.base, found.stacks) == (plain.base, plain.stacks)
    for role in ("backbone", "heads", "embeddings", "pooler", "final_norm"):
        if plain.base:
            assert found.role_nodes[role] == plain.role_nodes[role]


@pytest.mark.parametrize("case", SETTINGS)
def test_adapters_are_what_peft_itself_would_train(case: str) -> None:
    _, model = adapted(case)
    live = {id(tensor) for tensor in model.parameters() if tensor.requires_grad}
    theirs = {name for name, _, tensor in canonical_parameters(model) if id(tensor) in live}
    found = inventory_of(model)
    assert {info.name for info in found.params if "adapters" in info.roles} == theirs


@pytest.mark.parametrize("case", SETTINGS)
def test_training_the_adapters_leaves_the_rest_bit_identical(case: str) -> None:
    name, model = adapted(case)
    plan = freezeplan.compile_plan(model, only("@adapters"))
    optimizer = torch.optim.AdamW(freezeplan.build_param_groups(model, plan))
    freezeplan.verify(model, plan, optimizer)
    base = values(tiny(name))
    moved = train(name, model, optimizer)
    trained = set(plan.names(trainable=True))
    aliases = {alias for param in plan.params if param.name in trained for alias in param.aliases}
    assert moved == trained | aliases
    after = values(model)
    assert all(torch.equal(after[key], value) for key, value in base.items())


def test_adapters_of_the_upper_layers_alone() -> None:
    name, model = adapted("lora on bert")
    spec = only("@layers[-1:].@adapters")
    spec["rule"].append(
        {"name": "lower", "match": "@layers[1].@adapters", "state": "trainable", "lr_mult": 0.5}
    )
    groups = freezeplan.build_param_groups(model, spec)
    held = {group["name"]: [key.split(".")[3] for key, _ in group["params"]] for group in groups}
    assert held == {"some": ["2"] * 4, "lower": ["1"] * 4}
    planned = {key for group in groups for key, _ in group["params"]}
    assert train(name, model, torch.optim.AdamW(groups)) == planned


def test_a_saved_module_and_its_original_stand_under_the_same_path() -> None:
    _, model = adapted("lora on bert")
    plan = freezeplan.compile_plan(model, only("classifier"))
    assert plan.names(trainable=True) == (
        "classifier.weight",
        "classifier.bias",
        "classifier.modules_to_save.default.weight",
        "classifier.modules_to_save.default.bias",
    )
    name = "bert"
    freezeplan.apply_freeze(model, plan)
    assert train(name, model, build_optimizer(model, plan)) == set(plan.names(trainable=True)[2:])


def test_two_adapters_are_named_apart() -> None:
    name, model = adapted("lora on bert")
    model.add_adapter("second", lora("bert"))
    model.set_adapter("second")
    plan = freezeplan.compile_plan(model, only("**.second"))
    freezeplan.apply_freeze(model, plan)
    assert all(".second." in key for key in plan.names(trainable=True))
    assert train(name, model, build_optimizer(model, plan)) == set(plan.names(trainable=True))


@pytest.mark.parametrize(
    "wrap", [compiled, checkpointing, torch.nn.DataParallel], ids=lambda wrap: wrap.__name__
)
def test_wrappers_around_adapters_change_nothing(wrap: Any) -> None:
    name, model = adapted("lora on bert")
    plan = freezeplan.compile_plan(model, only("@adapters"))
    wrapped = wrap(model)
    assert freezeplan.compile_plan(wrapped, only("@adapters")) == plan
    freezeplan.apply_freeze(wrapped, plan)
    assert train(name, wrapped, build_optimizer(wrapped, plan)) == set(plan.names(trainable=True))
