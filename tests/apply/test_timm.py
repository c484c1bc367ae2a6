"""Layer decay as timm computes it: the same factors and weight decays by name, the same weights after training."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import transformers

from freezeplan.api import build_param_groups, compile_plan
from freezeplan.outside.quiet import quiet
from tests.apply.timm_groups import param_groups_layer_decay

grouped_by_timm = param_groups_layer_decay()
pytestmark = pytest.mark.skipif(grouped_by_timm is None, reason="timm is not installed")

TEXT = {"input_ids": torch.tensor([[2, 5, 7, 3, 4], [2, 6, 8, 3, 9]])}
IMAGES = {"pixel_values": torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)}
SMALL = {"vocab_size": 12, "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2}
BERT = SMALL | {"intermediate_size": 16, "max_position_embeddings": 8}
DISTILBERT = {"vocab_size": 12, "dim": 8, "n_layers": 4, "n_heads": 2, "hidden_dim": 16}
ELECTRA = BERT | {"embedding_size": 4}
VIT = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
VIT_IMAGE = VIT | {"image_size": 8, "patch_size": 4}
QWEN2 = SMALL | {"intermediate_size": 16, "num_key_value_heads": 1, "pad_token_id": 0}
RESNET = {"embedding_size": 4, "hidden_sizes": [4, 8, 8], "depths": [1, 2, 2], "layer_type": "basic"}
CONVNEXT = {"hidden_sizes": [4, 4, 4], "depths": [1, 2, 1], "num_stages": 3, "patch_size": 2}
SWIN = {
    "image_size": 8,
    "patch_size": 2,
    "embed_dim": 4,
    "depths": [1, 2],
    "num_heads": [1, 1],
    "window_size": 2,
}
INTO_FIRST_BLOCK = (0,)
INTO_TOP_BLOCK = (99999,)


@dataclass(frozen=True)
class Case:
    """A class of transformers, its small config, its input, and what a `group_matcher` for it would say."""

    model_class: str
    config: str
    settings: Mapping[str, Any]
    stem: str
    block: str
    norm: str | None = None
    options: Mapping[str, Any] | None = None
    into_first: str | None = None
    unit: str = "layers"

    def model(self) -> torch.nn.Module:
        """Build the model with random weights."""
        config = getattr(transformers, self.config)(**self.settings)
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return getattr(transformers, self.model_class)(config, **self.options or {})

    def matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return what timm's own models return."""
        first = [(self.into_first, INTO_FIRST_BLOCK)] if self.into_first else []
        norm = [(self.norm, INTO_TOP_BLOCK)] if self.norm else []
        return {"stem": self.stem, "blocks": [*first, (self.block, None), *norm]}


HEADLESS = {"add_pooling_layer": False}
# The patterns of timm's own `ResNet`, `ConvNeXt` and `SwinTransformer`, the coarse ones for stages; a final norm
# goes into the top block as in timm's transformers.
STAGED = {
    "resnet": Case(
        "ResNetForImageClassification",
        "ResNetConfig",
        RESNET,
        r"^resnet\.embedder",
        r"^resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)",
    ),
    "resnet by stages": Case(
        "ResNetForImageClassification",
        "ResNetConfig",
        RESNET,
        r"^resnet\.embedder",
        r"^resnet\.encoder\.stages\.(\d+)",
        unit="stages",
    ),
    "convnext": Case(
        "ConvNextForImageClassification",
        "ConvNextConfig",
        CONVNEXT,
        r"^convnext\.embeddings",
        r"^convnext\.encoder\.stages\.(\d+)\.layers\.(\d+)",
        r"^convnext\.layernorm",
        into_first=r"^convnext\.encoder\.stages\.(\d+)\.downsampling_layer",
    ),
    "convnext by stages": Case(
        "ConvNextForImageClassification",
        "ConvNextConfig",
        CONVNEXT,
        r"^convnext\.embeddings",
        r"^convnext\.encoder\.stages\.(\d+)",
        r"^convnext\.layernorm",
        unit="stages",
    ),
    "swin by stages": Case(
        "SwinForImageClassification",
        "SwinConfig",
        SWIN,
        r"^swin\.embeddings",
        r"^swin\.encoder\.layers\.(\d+)",
        r"^swin\.layernorm",
        unit="stages",
    ),
}
CASES = {
    **STAGED,
    "bert": Case(
        "BertForSequenceClassification",
        "BertConfig",
        BERT,
        r"^bert\.embeddings",
        r"^bert\.encoder\.layer\.(\d+)",
    ),
    "distilbert": Case(
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        DISTILBERT,
        r"^distilbert\.embeddings",
        r"^distilbert\.transformer\.layer\.(\d+)",
    ),
    "electra": Case(
        "ElectraForSequenceClassification",
        "ElectraConfig",
        ELECTRA,
        r"^electra\.embeddings",
        r"^electra\.encoder\.layer\.(\d+)",
    ),
    "vit": Case(
        "ViTForImageClassification",
        "ViTConfig",
        VIT_IMAGE,
        r"^vit\.embeddings",
        r"^vit\.(?:encoder\.)?layers?\.(\d+)",
        r"^vit\.layernorm",
    ),
    "qwen2": Case(
        "Qwen2ForSequenceClassification",
        "Qwen2Config",
        QWEN2,
        r"^model\.embed_tokens",
        r"^model\.layers\.(\d+)",
        r"^model\.norm",
    ),
    "bert without a head": Case(
        "BertModel", "BertConfig", BERT, r"^embeddings", r"^encoder\.layer\.(\d+)", options=HEADLESS
    ),
    "vit without a head": Case(
        "ViTModel",
        "ViTConfig",
        VIT_IMAGE,
        r"^embeddings",
        r"^(?:encoder\.)?layers?\.(\d+)",
        r"^layernorm",
        HEADLESS,
    ),
    "qwen2 without a head": Case(
        "Qwen2Model", "Qwen2Config", QWEN2, r"^embed_tokens", r"^layers\.(\d+)", r"^norm"
    ),
}


@pytest.fixture(params=CASES, name="case")
def every_case(request: pytest.FixtureRequest) -> Case:
    """Return each case in turn."""
    return CASES[request.param]


def spec(case: Case, rate: float, floor: float = 0.0) -> dict[str, Any]:
    decay = {"formula": "timm", "rate": rate, "min_mult": floor, "unit": case.unit}
    return {
        "optimizer": {"lr": 1e-3, "weight_decay": 0.05, "no_decay": "timm"},
        "rule": [{"match": "**", "state": "trainable", "layer_decay": decay}],
    }


def by_timm(case: Case, model: torch.nn.Module, rate: float, floor: float = 0.0) -> list[dict[str, Any]]:
    assert grouped_by_timm is not None
    model.group_matcher = case.matcher
    return grouped_by_timm(model, weight_decay=0.05, layer_decay=rate, min_scale=floor)


@pytest.mark.parametrize(("rate", "floor"), [(0.8, 0.0), (0.65, 0.0), (0.5, 0.3)])
def test_every_name_has_timms_factor_and_weight_decay(case: Case, rate: float, floor: float) -> None:
    model = case.model()
    names = {id(tensor): name for name, tensor in model.named_parameters()}
    # timm multiplies in binary, and ends beside the decimals.
    theirs = {
        names[id(tensor)]: (pytest.approx(group["lr_scale"], rel=1e-14), group["weight_decay"])
        for group in by_timm(case, model, rate, floor)
        for tensor in group["params"]
    }
    plan = compile_plan(case.model(), spec(case, rate, floor))
    ours = {
        param.name: (what.decay, what.weight_decay)
        for param, what in zip(plan.params, plan.phases[0].assignments, strict=True)
    }
    assert ours == theirs
    assert len({factor for factor, _ in ours.values()}) >= 3


def trained(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Take three steps on a fixed batch, with the same dropout each time; returns the weights."""
    torch.manual_seed(1)
    model.train()
    batch = IMAGES if model.main_input_name == "pixel_values" else TEXT
    for step in range(3):
        optimizer.zero_grad(set_to_none=True)
        output = model(**batch)[0]
        (output - step).square().mean().backward()
        optimizer.step()
    return {name: tensor.detach() for name, tensor in model.named_parameters()}


def test_three_steps_of_adamw_give_the_same_bits(case: Case) -> None:
    first = case.model()
    second, start = copy.deepcopy(first), copy.deepcopy(first.state_dict())
    groups = by_timm(case, first, 0.8)
    theirs = trained(
        first, torch.optim.AdamW([group | {"lr": 1e-3 * group["lr_scale"]} for group in groups], lr=1e-3)
    )
    ours = trained(second, torch.optim.AdamW(build_param_groups(second, spec(case, 0.8))))
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    moved = sum(not torch.equal(ours[name], start[name]) for name in ours)
    assert moved >= len(ours) - 1
