"""Tiny random models of many architectures behind two heads, and batches for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers

from freezeplan.api import compile_plan
from freezeplan.apply import apply_freeze
from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.records import Inventory
from freezeplan.models.multitask import MultiTaskModel
from freezeplan.outside.quiet import quiet
from freezeplan.plan.records import Plan
from freezeplan.prefix import Reason

VOCABULARY = 50
TASKS = {"topic": (3, 0.1), "mood": (2, 0.1)}
TEXT, IMAGE, WAVE, MEL = "text", "image", "wave", "mel"

BASE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
WIDE = {"max_position_embeddings": 32}
DECODER = BASE | {
    "num_key_value_heads": 1,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SEQ2SEQ = {
    "vocab_size": VOCABULARY,
    "d_model": 16,
    "encoder_layers": 4,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "pad_token_id": 0,
    "max_position_embeddings": 32,
}
T5 = {
    "vocab_size": VOCABULARY,
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 4,
    "num_decoder_layers": 2,
    "num_heads": 2,
    "pad_token_id": 0,
    "decoder_start_token_id": 0,
}
PATCHES = {"image_size": 16, "patch_size": 4, "num_channels": 3}
VISION = {name: value for name, value in BASE.items() if name != "vocab_size"} | PATCHES
STAGES = {"depths": [2, 2], "hidden_sizes": [8, 16], "num_channels": 3}
SPEECH = BASE | {
    "conv_dim": (8, 8),
    "conv_kernel": (4, 4),
    "conv_stride": (4, 4),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "mask_time_length": 2,
    "layerdrop": 0.5,
}


@dataclass(frozen=True)
class Architecture:
    """One row of the table: a type of transformers, its settings, what it reads, and what is expected.

    ``refuses`` is the reason that the store gives with half of the layers frozen, None where it runs. ``exact``
    is False where the kernels of an unlike batch round otherwise, so that results agree to 1e-5 only. ``core``
    rows are tested every time, the others with the slow tests.
    """

    model_type: str
    settings: dict[str, Any]
    reads: str = TEXT
    refuses: Reason | None = None
    exact: bool = True
    core: bool = False
    class_name: str = "AutoModel"
    name: str = field(default="")

    @property
    def label(self) -> str:
        """What the table calls it."""
        return self.name or self.model_type


ARCHITECTURES = (
    Architecture(
        "distilbert",
        {"vocab_size": VOCABULARY, "dim": 16, "n_layers": 4, "n_heads": 2, "hidden_dim": 32, **WIDE},
        core=True,
    ),
    Architecture("bert", BASE | WIDE, core=True),
    Architecture("roberta", BASE | WIDE | {"pad_token_id": 0}, core=True),
    Architecture("xlm-roberta", BASE | WIDE | {"pad_token_id": 0}),
    Architecture("electra", BASE | WIDE | {"embedding_size": 8}, core=True),
    Architecture("mpnet", BASE | WIDE, core=True),
    Architecture(
        "deberta-v2",
        BASE
        | WIDE
        | {
            "relative_attention": True,
            "pos_att_type": ["c2p", "p2c"],
            "position_buckets": 8,
            "conv_kernel_size": 3,
            "conv_act": "gelu",
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
        },
        core=True,
    ),
    Architecture("modernbert", BASE | WIDE | {"pad_token_id": 0, "local_attention": 4}, core=True),
    Architecture(
        "gpt2",
        {"vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 4, "n_head": 2, "n_positions": 32},
        core=True,
    ),
    Architecture("gpt_neox", BASE | WIDE),
    Architecture(
        "opt",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 16,
            "word_embed_proj_dim": 16,
            "ffn_dim": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            **WIDE,
            "pad_token_id": 0,
        },
    ),
    Architecture("llama", DECODER | WIDE, core=True),
    Architecture("mistral", DECODER | WIDE | {"sliding_window": 4}),
    Architecture("qwen3", DECODER | WIDE, core=True),
    Architecture("gemma2", DECODER | WIDE | {"sliding_window": 4}, core=True),
    Architecture("mixtral", DECODER | WIDE | {"num_local_experts": 2}, exact=False),
    Architecture("t5", T5, core=True),
    Architecture("mt5", T5, class_name="MT5EncoderModel", name="mt5 encoder"),
    Architecture("bart", SEQ2SEQ, core=True),
    Architecture(
        "xlm",
        {
            "vocab_size": VOCABULARY,
            "emb_dim": 16,
            "n_layers": 4,
            "n_heads": 2,
            "max_position_embeddings": 32,
            "pad_index": 0,
        },
        refuses=Reason.PARALLEL,
    ),
    Architecture("fnet", BASE | WIDE, refuses=Reason.PADDING),
    Architecture(
        "funnel",
        {
            "vocab_size": VOCABULARY,
            "d_model": 16,
            "n_head": 2,
            "d_head": 8,
            "d_inner": 32,
            "block_sizes": [2, 2],
            "num_decoder_layers": 1,
        },
        class_name="FunnelBaseModel",
        refuses=Reason.PADDING,
        exact=False,
    ),
    Architecture(
        "mamba", {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 4, "state_size": 4}
    ),
    Architecture(
        "xlnet",
        {"vocab_size": VOCABULARY, "d_model": 16, "n_layer": 4, "n_head": 2, "d_inner": 32},
        refuses=Reason.NOT_PER_EXAMPLE,
    ),
    Architecture("albert", BASE | WIDE | {"embedding_size": 8}, refuses=Reason.SHARED, core=True),
    Architecture(
        "squeezebert",
        BASE
        | WIDE
        | {
            "embedding_size": 16,
            "q_groups": 1,
            "k_groups": 1,
            "v_groups": 1,
            "post_attention_groups": 1,
            "intermediate_groups": 1,
            "output_groups": 1,
        },
        refuses=Reason.BYPASSED,
        core=True,
    ),
    Architecture("vit", VISION, IMAGE, core=True),
    Architecture("deit", VISION, IMAGE),
    Architecture("beit", VISION, IMAGE),
    Architecture("dinov2", VISION | {"mlp_ratio": 2}, IMAGE, core=True),
    Architecture(
        "swin",
        PATCHES | {"embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 2},
        IMAGE,
        core=True,
    ),
    Architecture("resnet", STAGES | {"embedding_size": 8}, IMAGE, core=True),
    Architecture("convnext", STAGES | {"num_stages": 2, "patch_size": 2}, IMAGE, core=True),
    Architecture("wav2vec2", SPEECH, WAVE, core=True),
    Architecture("hubert", SPEECH, WAVE),
    Architecture(
        "whisper",
        {name: value for name, value in SEQ2SEQ.items() if name != "max_position_embeddings"}
        | {
            "num_mel_bins": 8,
            "max_source_positions": 8,
            "max_target_positions": 8,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
        },
        MEL,
        core=True,
    ),
)


def build(architecture: Architecture, seed: int = 0) -> MultiTaskModel:
    """Build a tiny random model of an architecture with a head per task."""
    config = transformers.CONFIG_MAPPING[architecture.model_type](**architecture.settings)
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        chosen = getattr(transformers, architecture.class_name)
        make = chosen.from_config if architecture.class_name == "AutoModel" else chosen._from_config
        backbone = make(config)
        for parameter in backbone.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.05)
        return MultiTaskModel(backbone, _width(backbone, architecture), TASKS)


def _width(backbone: torch.nn.Module, architecture: Architecture) -> int:
    widths = getattr(backbone.config, "hidden_sizes", None)
    return widths[-1] if widths else backbone.config.hidden_size


def frozen_below(model: MultiTaskModel, share: float) -> tuple[Inventory, Plan]:
    """Freeze all of a model but its heads and the upper part of its layers; returns inventory and plan.

    ``share`` is the share of the layers that is frozen; with 1.0 the whole backbone is.
    """
    inventory = inventory_of(model)
    rules: list[dict[str, Any]] = [
        {"match": "**", "state": "frozen"},
        {"match": "heads", "state": "trainable"},
    ]
    if share < 1.0:
        rules.append({"match": upper_layers(inventory, share), "state": "trainable"})
    plan = compile_plan(inventory, {"rule": rules})
    apply_freeze(model, plan)
    return inventory, plan


def upper_layers(inventory: Inventory, share: float) -> list[str]:
    """Return the paths of the layers above a share of each main stack."""
    stacks = [stack for stack in inventory.stacks if stack.main]
    return [path for stack in stacks for path in stack.layers[int(stack.length * share) :]]


def make_batch(reads: str, lengths: Sequence[int], seed: int, width: int = 12) -> dict[str, torch.Tensor]:
    """Return a random batch; texts of the given lengths are padded on the right to one fixed width."""
    chance = torch.Generator().manual_seed(seed)
    rows = len(lengths)
    if reads == IMAGE:
        return {"pixel_values": torch.randn((rows, 3, 16, 16), generator=chance)}
    if reads == WAVE:
        return {"input_values": torch.randn((rows, 400), generator=chance)}
    if reads == MEL:
        return {"input_features": torch.randn((rows, 8, 16), generator=chance)}
    ids = torch.randint(3, VOCABULARY, (rows, width), generator=chance)
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask}
