"""Roles of real architectures and of plain torch modules, found from structure."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.records import Inventory
from freezeplan.models.multitask import MultiTaskModel
from tests.models.sources import meta

NODES = ("backbone", "heads", "embeddings", "pooler", "final_norm")
CASES = {
    "BertModel": ("bert", ("",), (), ("embeddings",), ("pooler",), ()),
    "BertForSequenceClassification": (
        "bert", ("bert",), ("classifier",), ("bert.embeddings",), ("bert.pooler",), (),
    ),
    "BertForMaskedLM": ("bert", ("bert",), ("cls",), ("bert.embeddings",), (), ()),
    "DistilBertForSequenceClassification": (
        "distilbert", ("distilbert",), ("pre_classifier", "classifier"), ("distilbert.embeddings",), (), (),
    ),
    "RobertaForTokenClassification": (
        "roberta", ("roberta",), ("classifier",), ("roberta.embeddings",), (), (),
    ),
    "ElectraForSequenceClassification": (
        "electra", ("electra",), ("classifier",),
        ("electra.embeddings", "electra.embeddings_project"), (), (),
    ),
    "MPNetModel": (
        "mpnet", ("",), (), ("embeddings", "encoder.relative_attention_bias"), ("pooler",), (),
    ),
    "ViTForImageClassification": (
        "vit", ("vit",), ("classifier",), ("vit.embeddings",), (), ("vit.layernorm",),
    ),
    "DINOv3ViTModel": ("dinov3_vit", ("",), (), ("embeddings",), (), ("norm",)),
    "GPT2LMHeadModel": (
        "gpt2", ("transformer",), ("lm_head",),
        ("transformer.wte", "transformer.wpe"), (), ("transformer.ln_f",),
    ),
    "T5ForConditionalGeneration": (
        "t5", ("shared", "encoder", "decoder"), ("lm_head",),
        ("shared", "encoder.embed_tokens", "decoder.embed_tokens"), (),
        ("encoder.final_layer_norm", "decoder.final_layer_norm"),
    ),
    "LlamaForCausalLM": ("llama", ("model",), ("lm_head",), ("model.embed_tokens",), (), ("model.norm",)),
    "ResNetForImageClassification": ("resnet", ("resnet",), ("classifier",), ("resnet.embedder",), (), ()),
}  # fmt: skip


@pytest.mark.parametrize("class_name", CASES)
def test_the_parts_of_an_architecture(class_name: str) -> None:
    model_type, *expected = CASES[class_name]
    settings = {"num_hidden_layers": 2} if model_type == "llama" else {}
    inventory = inventory_of(meta(model_type, class_name, **settings))
    assert [inventory.role_nodes[role] for role in NODES] == expected


STACKS = {
    ("bert", "BertModel"): [("encoder.layer", 12)],
    ("distilbert", "DistilBertModel"): [("transformer.layer", 6)],
    ("electra", "ElectraModel"): [("encoder.layer", 12)],
    ("deberta-v2", "DebertaV2Model"): [("encoder.layer", 24)],
    ("t5", "T5Model"): [("encoder.block", 6), ("decoder.block", 6)],
    ("resnet", "ResNetModel"): [("encoder.stages", 16)],
    ("swin", "SwinModel"): [("encoder.layers", 12)],
    ("wav2vec2", "Wav2Vec2Model"): [("encoder.layers", 12)],
}


@pytest.mark.parametrize("key", STACKS, ids="/".join)
def test_the_main_stacks(key: tuple[str, str]) -> None:
    inventory = inventory_of(meta(*key))
    assert [(stack.path, stack.length) for stack in inventory.stacks if stack.main] == STACKS[key]


def test_each_stack_says_why_it_is_one() -> None:
    (stack,) = inventory_of(meta("bert", "BertModel")).stacks
    assert stack.layers == tuple(f"encoder.layer.{index}" for index in range(12))
    assert stack.evidence == (
        "12 numbered modules in encoder.layer",
        "BertLayer is a GradientCheckpointingLayer",
        "the model records hidden states of BertLayer",
        "the model never splits BertLayer",
        "num_hidden_layers = 12",
    )


def test_a_list_beside_the_layers_is_a_stack_but_not_the_main_one() -> None:
    stacks = inventory_of(meta("wav2vec2", "Wav2Vec2Model")).stacks
    assert [(stack.path, stack.main) for stack in stacks] == [
        ("feature_extractor.conv_layers", False),
        ("encoder.layers", True),
    ]


def test_a_tied_head_is_still_a_head() -> None:
    inventory = inventory_of(meta("gpt2", "GPT2LMHeadModel"))
    head = by_name(inventory)["lm_head.weight"]
    assert head.alias_of == "transformer.wte.weight"
    assert head.roles == {"heads"}


def test_weight_and_bias_of_a_masked_language_model_are_tied() -> None:
    infos = by_name(inventory_of(meta("bert", "BertForMaskedLM")))
    assert infos["cls.predictions.decoder.weight"].alias_of == "bert.embeddings.word_embeddings.weight"
    assert infos["cls.predictions.decoder.bias"].alias_of == "cls.predictions.bias"


def test_roles_of_single_parameters() -> None:
    infos = by_name(inventory_of(meta("bert", "BertForSequenceClassification")))
    layer = "bert.encoder.layer.10"
    assert infos[f"{layer}.attention.self.query.bias"].roles == {"backbone", "layers", "bias"}
    assert infos[f"{layer}.output.LayerNorm.weight"].roles == {"backbone", "layers", "norm"}
    assert infos[f"{layer}.output.LayerNorm.bias"].roles == {"backbone", "layers", "norm", "bias"}
    assert infos["bert.embeddings.LayerNorm.weight"].roles == {"backbone", "embeddings", "norm"}
    assert infos["classifier.bias"].roles == {"heads", "bias"}
    assert (infos[f"{layer}.output.LayerNorm.bias"].stack, infos[f"{layer}.output.LayerNorm.bias"].layer) == (
        "bert.encoder.layer",
        10,
    )


def test_a_table_of_relative_biases_is_no_bias() -> None:
    infos = by_name(inventory_of(meta("t5", "T5Model")))
    table = infos["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    assert "bias" not in table.roles
    assert "layers" in table.roles


def test_models_of_tasks_have_a_backbone_and_heads() -> None:
    backbone = meta("distilbert", "DistilBertModel")
    with torch.device("meta"):
        inventory = inventory_of(MultiTaskModel(backbone, 768, {"mood": (2, 0.1), "topic": (4, 0.1)}))
    assert inventory.base == "backbone"
    assert [inventory.role_nodes[role] for role in NODES] == [
        ("backbone",), ("heads",), ("backbone.embeddings",), (), (),
    ]  # fmt: skip
    trunk = [info for info in inventory.tensors if "backbone" in info.roles]
    assert (len(trunk), sum(info.numel for info in trunk)) == (100, 66_362_880)
    assert [info.name for info in inventory.tensors if "heads" in info.roles] == [
        "heads.mood.linear.weight", "heads.mood.linear.bias",
        "heads.topic.linear.weight", "heads.topic.linear.bias",
    ]  # fmt: skip


class Plain(nn.Module):
    """A model of one's own: embeddings, a stack, a norm, an output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(7, 4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)) for _ in range(3))
        self.last_norm = nn.LayerNorm(4)
        self.out = nn.Linear(4, 2)


def test_parts_of_a_plain_torch_model() -> None:
    inventory = inventory_of(Plain())
    assert [(stack.path, stack.length, stack.main) for stack in inventory.stacks] == [("blocks", 3, True)]
    # Nothing says that `out` is a head: what looks like the base may not be called so.
    assert [inventory.role_nodes[role] for role in NODES] == [(), (), ("tokens",), (), ("last_norm",)]
    assert by_name(inventory)["blocks.1.1.bias"].roles == {"layers", "norm", "bias"}
    assert [doubt.roles for doubt in inventory.doubts] == [("backbone", "heads")]


def test_equally_large_stacks_of_a_plain_model_are_all_main() -> None:
    model = nn.Module()
    model.left = nn.ModuleList(nn.Linear(3, 3) for _ in range(4))
    model.right = nn.ModuleList(nn.Linear(3, 3) for _ in range(4))
    model.small = nn.ModuleList(nn.Linear(1, 1) for _ in range(2))
    found = {stack.path: stack.main for stack in inventory_of(model).stacks}
    assert found == {"left": True, "right": True, "small": False}


def test_experts_inside_layers_are_no_layers() -> None:
    model = nn.Module()
    experts = [nn.ModuleList(nn.Linear(2, 2) for _ in range(4)) for _ in range(2)]
    model.layers = nn.ModuleList(nn.ModuleDict({"experts": item}) for item in experts)
    assert [stack.path for stack in inventory_of(model).stacks] == ["layers"]


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 1)),
        nn.ModuleDict({"1": nn.Linear(2, 2), "2": nn.Linear(2, 2)}),
        nn.ModuleList([nn.Linear(2, 2)]),
    ],
    ids=["not alike", "does not start at 0", "only one"],
)
def test_what_is_no_stack(model: nn.Module) -> None:
    assert inventory_of(model).stacks == ()


def by_name(inventory: Inventory) -> dict:
    return {info.name: info for info in inventory.params}
