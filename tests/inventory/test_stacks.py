"""Stacks that are not one plain list, the experts inside, and what is said where evidence disagrees."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.records import Inventory, Stack
from tests.models.sources import meta
from tests.plan.matching import selected

SMALL = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2, "vocab_size": 32}
XLM = {"vocab_size": 32, "emb_dim": 8, "n_heads": 2, "n_layers": 3, "max_position_embeddings": 8}
SWIN = {"embed_dim": 4, "num_heads": [1, 1, 2], "depths": [1, 2, 1], "image_size": 32}


def main(inventory: Inventory) -> list[Stack]:
    """Return the main stacks."""
    return [stack for stack in inventory.stacks if stack.main]


def test_lists_side_by_side_make_up_one_stack() -> None:
    (stack,) = main(inventory_of(meta("xlm", "XLMModel", **XLM)))
    assert stack.spans[1] == ("attentions.1", "layer_norm1.1", "ffns.1", "layer_norm2.1")


def test_a_slice_takes_every_list_of_a_layer() -> None:
    names, _ = selected(inventory_of(meta("xlm", "XLMModel", **XLM)), "@layers[2]")
    assert {name.partition(".")[0] for name in names} == {"attentions", "layer_norm1", "ffns", "layer_norm2"}
    assert {name.split(".")[1] for name in names} == {"2"}


def test_stages_and_blocks_are_both_known() -> None:
    (stack,) = main(inventory_of(meta("swin", "SwinModel", **SWIN)))
    assert stack.stage_sizes == (1, 2, 1)
    assert stack.stages == (("encoder.layers.0",), ("encoder.layers.1",), ("encoder.layers.2",))
    assert stack.layers[1:3] == ("encoder.layers.1.blocks.0", "encoder.layers.1.blocks.1")


def test_a_stage_holds_more_than_its_blocks() -> None:
    inventory = inventory_of(meta("swin", "SwinModel", **SWIN))
    infos = {info.name: info for info in inventory.params}
    between = infos["encoder.layers.1.downsample.reduction.weight"]
    assert (between.stack, between.stage, between.layer) == ("encoder.layers", 1, None)
    assert "stages" in between.roles
    assert "layers" not in between.roles
    blocks, _ = selected(inventory, "@layers[1:3]")
    stage, _ = selected(inventory, "@stages[1]")
    assert blocks < stage
    assert {name for name in stage - blocks if ".downsample." not in name} == set()


def test_lists_beside_the_stages_belong_to_them() -> None:
    (stack,) = main(inventory_of(meta("pvt", "PvtModel")))
    assert stack.stages[1] == ("encoder.block.1", "encoder.patch_embeddings.1")
    assert stack.layers[2:4] == ("encoder.block.1.0", "encoder.block.1.1")


def test_depths_of_a_flat_list_cut_it_into_stages() -> None:
    (stack,) = main(inventory_of(meta("hiera", "HieraModel")))
    assert stack.length == sum(stack.stage_sizes)
    assert len(stack.stages) == len(stack.stage_sizes)


def test_layers_that_share_tensors_say_so_and_refuse_slices() -> None:
    albert = inventory_of(meta("albert", "AlbertModel", embedding_size=8, num_hidden_layers=4, **SMALL))
    (stack,) = main(albert)
    reason = "num_hidden_layers = 4 runs the 1 in `encoder.albert_layer_groups` repeatedly"
    assert (stack.length, stack.shared) == (1, reason)
    assert selected(albert, "@layers[0]") == (frozenset(), True)
    assert selected(albert, "@layers")[0]


def test_layers_tied_to_each_other_are_shared() -> None:
    model = nn.Module()
    model.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))
    model.layers[2].weight = model.layers[0].weight
    (stack,) = main(inventory_of(model))
    assert stack.shared == "layers 0 and 2 share `layers.0.weight`"


def test_a_list_counted_for_a_part_is_not_main_but_can_be_scoped() -> None:
    inventory = inventory_of(meta("wav2vec2", "Wav2Vec2Model"))
    assert [stack.path for stack in main(inventory)] == ["encoder.layers"]
    names, _ = selected(inventory, "feature_extractor.@layers[0]")
    assert names
    assert {name.rpartition(".conv_layers.")[2].partition(".")[0] for name in names} == {"0"}


def test_the_code_is_asked_where_evidence_is_thin() -> None:
    """GroupViT's stages have no marked list of the counted length: only rebuilding tells."""
    stacks = {stack.path: stack for stack in main(inventory_of(meta("groupvit", "GroupViTModel")))}
    assert stacks["vision_model.encoder.stages"].stage_sizes == (6, 3, 3)
    assert any(
        "raising vision_config.depths" in text for text in stacks["vision_model.encoder.stages"].evidence
    )


def test_asking_the_code_leaves_the_model_and_the_random_numbers_alone() -> None:
    model = meta("swin", "SwinModel", **SWIN)
    before = model.config.to_dict()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    inventory_of(model)
    assert torch.equal(torch.rand(2), expected)
    assert model.config.to_dict() == before


def test_a_task_model_of_our_own_is_asked_about_its_backbone() -> None:
    holder = nn.Module()
    holder.backbone = meta("swin", "SwinModel", **SWIN)
    (stack,) = main(inventory_of(holder))
    assert stack.path == "backbone.encoder.layers"
    assert stack.stage_sizes == (1, 2, 1)


class Left(nn.Linear):
    """A kind of module."""


def test_lists_of_which_none_is_confirmed_are_in_doubt() -> None:
    model = nn.Module()
    model.left = nn.ModuleList(Left(3, 3) for _ in range(4))
    model.right = nn.ModuleList(nn.Linear(3, 3) for _ in range(5))
    inventory = inventory_of(model)
    (doubt,) = (doubt for doubt in inventory.doubts if "layers" in doubt.roles)
    assert [(path, length) for path, length, _ in doubt.candidates] == [("left", 4), ("right", 5)]
    assert selected(inventory, "@layers") == (frozenset(), True)
    assert selected(inventory, "left.@layers[0]") == (frozenset({"left.0.weight", "left.0.bias"}), False)


MIXTRAL = {**SMALL, "num_hidden_layers": 2, "num_key_value_heads": 1, "num_local_experts": 3}


def test_experts_in_one_tensor_and_their_router() -> None:
    nodes = inventory_of(meta("mixtral", "MixtralModel", **MIXTRAL)).role_nodes
    assert nodes["experts"] == ("layers.0.mlp.experts", "layers.1.mlp.experts")
    assert nodes["router"] == ("layers.0.mlp.gate", "layers.1.mlp.gate")


def test_experts_by_number_and_their_router() -> None:
    layer = nn.ModuleDict(
        {"experts": nn.ModuleList(nn.Linear(4, 4) for _ in range(3)), "gate": nn.Linear(4, 3)}
    )
    model = nn.Module()
    model.layers = nn.ModuleList([layer])
    nodes = inventory_of(model).role_nodes
    assert (nodes["experts"], nodes["router"]) == (("layers.0.experts",), ("layers.0.gate",))


def test_a_shared_expert_is_none_of_the_routed_ones() -> None:
    settings = {**MIXTRAL, "num_experts": 3, "moe_intermediate_size": 8, "shared_expert_intermediate_size": 8}
    nodes = inventory_of(meta("qwen2_moe", "Qwen2MoeModel", **settings)).role_nodes
    assert nodes["experts"] == ("layers.0.mlp.experts", "layers.1.mlp.experts")
    assert nodes["router"] == ("layers.0.mlp.gate", "layers.1.mlp.gate")


def test_a_dense_model_has_neither() -> None:
    nodes = inventory_of(meta("bert", "BertModel", num_hidden_layers=1)).role_nodes
    assert (nodes["experts"], nodes["router"], nodes["adapters"]) == ((), (), ())


@pytest.mark.parametrize(
    ("model_type", "class_name", "norms"),
    [
        ("opt", "OPTModel", ("decoder.final_layer_norm",)),
        ("bart", "BartModel", ()),
        ("bloom", "BloomModel", ("ln_f",)),
        ("t5gemma", "T5GemmaModel", ("encoder.norm", "decoder.norm")),
        ("clip_vision_model", "CLIPVisionModel", ("post_layernorm",)),
    ],
)
def test_final_norms(model_type: str, class_name: str, norms: tuple[str, ...]) -> None:
    assert inventory_of(meta(model_type, class_name)).role_nodes["final_norm"] == norms
