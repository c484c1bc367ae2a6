"""A checkpoint that is not tied under a config that says so: nested configs, several ties, several files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file
from transformers.core_model_loading import revert_weight_conversion

from freezeplan.models.sources import inventory_for
from freezeplan.outside.quiet import quiet
from tests.models.sources import spec_of

SMALL = {
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
}
BART = {
    "vocab_size": 20,
    "d_model": 8,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 8,
    "decoder_ffn_dim": 8,
    "max_position_embeddings": 8,
    "decoder_start_token_id": 2,
}
IMAGES = {"image_size": 8, "patch_size": 4} | {key: SMALL[key] for key in list(SMALL)[1:]}


def text(kind: str, **more: Any) -> Any:
    return transformers.AutoConfig.for_model(kind, **SMALL, **more)


def nested() -> Any:
    """Return a config whose sub-config alone says that it is tied."""
    words = text("llama", num_key_value_heads=2, tie_word_embeddings=True)
    sees = transformers.CLIPVisionConfig(**IMAGES)
    return transformers.LlavaConfig(text_config=words, vision_config=sees, image_token_index=5)


def two_models() -> Any:
    decoder = text("bert", is_decoder=True, add_cross_attention=True)
    return transformers.EncoderDecoderConfig.from_encoder_decoder_configs(text("bert"), decoder)


CASES = {
    "GPT2LMHeadModel": lambda: transformers.GPT2Config(
        vocab_size=20, n_embd=8, n_layer=1, n_head=2, n_positions=8
    ),
    "BartForConditionalGeneration": lambda: transformers.BartConfig(**BART),
    "LlavaForConditionalGeneration": nested,
    "EncoderDecoderModel": two_models,
}


def save_untied(model: Any, folder: Path, files: int) -> None:
    """Save a model with other values for every name of a tied tensor, in some files."""
    with quiet():
        model.save_pretrained(folder)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    state = {
        name: value + torch.rand(value.shape) if value.is_floating_point() else value.clone()
        for name, value in model.state_dict().items()
    }
    saved = {name: value.contiguous() for name, value in revert_weight_conversion(model, state).items()}
    if files == 1:
        save_file(saved, folder / "model.safetensors", metadata={"format": "pt"})
        return
    places = {name: f"model-{at % files + 1:05}-of-{files:05}.safetensors" for at, name in enumerate(saved)}
    for file in set(places.values()):
        own = {name: saved[name] for name, place in places.items() if place == file}
        save_file(own, folder / file, metadata={"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")


def ties(pairs: Any) -> set[frozenset[str]]:
    """Return the groups of names that share a key."""
    found: dict[Any, set[str]] = {}
    for key, name in pairs:
        found.setdefault(key, set()).add(name)
    return {frozenset(names) for names in found.values() if len(names) > 1}


@pytest.mark.parametrize("files", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_ties_are_those_of_the_loaded_model(name: str, files: int, tmp_path: Path) -> None:
    kind = getattr(transformers, name)
    torch.manual_seed(0)
    model = kind(CASES[name]())
    assert model.all_tied_weights_keys
    save_untied(model, tmp_path, files)
    with quiet():
        loaded = kind.from_pretrained(tmp_path)
    real = ties((id(tensor), path) for path, tensor in loaded.named_parameters(remove_duplicate=False))
    shown = inventory_for(spec_of({"source": str(tmp_path), "class": name}))
    assert ties((info.alias_of or info.name, info.name) for info in shown.params) == real == set()
