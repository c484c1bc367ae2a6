"""`@bias` and `@norm` cover every kind of bias vector and normalisation, and nothing that only looks like one."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch import nn

import freezeplan
from freezeplan.inventory.from_module import inventory_of


def having(role: str, model: nn.Module) -> set[str]:
    return {info.name for info in inventory_of(model).params if role in info.roles}


def holding(**shapes: tuple[int, ...]) -> nn.Module:
    model = nn.Module()
    for name, shape in shapes.items():
        model.register_parameter(name, nn.Parameter(torch.zeros(shape)))
    return model


@pytest.mark.parametrize(
    "layer",
    [
        nn.LSTM(4, 4, num_layers=2, bidirectional=True),
        nn.GRU(4, 4),
        nn.RNN(4, 4),
        nn.LSTMCell(4, 4),
        nn.MultiheadAttention(4, 2, add_bias_kv=True),
        nn.Bilinear(2, 2, 2),
        nn.ConvTranspose2d(2, 2, 3),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_biases_of_torchs_own_layers(layer: nn.Module) -> None:
    model = nn.Sequential(layer, nn.Linear(4, 2))
    truth = {name for name, _ in model.named_parameters() if "bias" in name.rpartition(".")[2]}
    assert truth
    assert having("bias", model) == truth


def test_stacked_biases_of_experts_belong_to_the_weight_of_their_name() -> None:
    model = holding(up=(4, 8, 6), up_bias=(4, 6), down_proj=(4, 6, 8), down_proj_bias=(4, 8))
    assert having("bias", model) == {"up_bias", "down_proj_bias"}
    assert having("bias", holding(weight=(4, 8, 6), bias=(4, 6))) == {"bias"}


HEADED = {
    "xlnet": (
        "XLNetModel",
        {"d_model": 8, "n_layer": 1, "n_head": 2, "d_inner": 8, "vocab_size": 9},
        {"r_w_bias", "r_r_bias", "r_s_bias"},
    ),
    "funnel": (
        "FunnelModel",
        {"vocab_size": 9, "block_sizes": [1], "d_model": 8, "n_head": 2, "d_head": 4, "d_inner": 8},
        {"r_w_bias", "r_r_bias", "r_s_bias"},
    ),
    "wav2vec2-conformer": (
        "Wav2Vec2ConformerModel",
        {
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 8,
            "position_embeddings_type": "relative",
            "num_conv_pos_embedding_groups": 2,
        },
        {"pos_bias_u", "pos_bias_v"},
    ),
}


@pytest.mark.parametrize("kind", HEADED)
def test_biases_with_a_row_for_each_head(kind: str) -> None:
    name, settings, expected = HEADED[kind]
    with torch.device("meta"):
        model = getattr(transformers, name)(transformers.AutoConfig.for_model(kind, **settings))
    found = having("bias", model)
    assert expected <= {name.rpartition(".")[2] for name in found}
    truth = {name for name, _ in model.named_parameters() if "bias" in name.rpartition(".")[2].split("_")}
    assert found == truth


def test_a_bias_may_keep_axes_to_broadcast_along() -> None:
    assert having("bias", holding(bias=(1, 6, 1, 1), q_bias=(6,))) == {"bias", "q_bias"}


@pytest.mark.parametrize(
    "model",
    [
        holding(relative_position_bias_table=(9, 2)),
        holding(attention_biases=(2, 49)),
        holding(debiased=(4,)),
        holding(weight=(4, 8), bias=(4, 8)),
        holding(up=(4, 8, 6), up_bias=(8, 6)),
        nn.ModuleDict({"relative_attention_bias": nn.Embedding(8, 2)}),
    ],
    ids=[
        "table",
        "offsets of attention",
        "another word",
        "as large as the weight",
        "one for each of something else",
        "an embedding",
    ],
)
def test_what_is_no_bias(model: nn.Module) -> None:
    assert having("bias", model) == set()


class ChannelNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, width, 1, 1))
        self.b = nn.Parameter(torch.zeros(1, width, 1, 1))


class BlockGRN(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, width))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, width))


class NormedLinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, 4))


@pytest.mark.parametrize(
    "norm",
    [nn.LayerNorm([4, 6, 6]), nn.RMSNorm([2, 3]), ChannelNorm(4), BlockGRN(4), nn.GroupNorm(2, 4)],
    ids=lambda norm: type(norm).__name__,
)
def test_norms_of_any_shape(norm: nn.Module) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), norm)
    assert having("norm", model) == {f"1.{name}" for name, _ in norm.named_parameters()}


def test_a_layer_with_a_matrix_is_no_norm() -> None:
    assert having("norm", nn.Sequential(NormedLinear(), nn.Conv2d(1, 1, 3))) == set()


def test_none_of_them_decays_by_default() -> None:
    experts = holding(up=(4, 8, 6), up_bias=(4, 6))
    model = nn.Sequential(nn.LSTM(4, 4), nn.LayerNorm([2, 4]), experts, BlockGRN(4))
    groups = freezeplan.build_param_groups(model, {"rule": [{"match": "**", "state": "trainable"}]})
    decayed = {name for group in groups if group["weight_decay"] for name, _ in group["params"]}
    assert decayed == {"0.weight_ih_l0", "0.weight_hh_l0", "2.up"}
