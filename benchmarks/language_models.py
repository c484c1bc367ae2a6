"""Language models of random weights for measurements, with a tokenizer, and what their base model may learn."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from freezeplan.outside.quiet import quiet

LAYERS = 6
POSITIONS = 128
PIECES = 8192
END = "<|end|>"
HEADS = ("frozen", "trained")


def config_of(model: str, hidden: int, vocabulary: int, *, tied: bool) -> Any:
    """Return the config of a ``llama``, or of a ``gpt2`` as transformers has it by default, dropout included."""
    shared = {"vocab_size": vocabulary, "bos_token_id": 0, "eos_token_id": 0, "tie_word_embeddings": tied}
    if model == "gpt2":
        return GPT2Config(
            n_embd=hidden,
            n_layer=LAYERS,
            n_head=hidden // 64,
            n_positions=POSITIONS,
            pad_token_id=0,
            **shared,
        )
    return LlamaConfig(
        hidden_size=hidden,
        # As Llama's own: 8/3 of the hidden size, up to a multiple of 256.
        intermediate_size=-(-hidden * 8 // 3 // 256) * 256,
        num_hidden_layers=LAYERS,
        num_attention_heads=hidden // 64,
        max_position_embeddings=POSITIONS,
        **shared,
    )


def save_model(folder: Path, config: Any, texts: Iterable[str]) -> None:
    """Save a language model of random weights, and a tokenizer of bytes that was trained on the texts.

    Its vocabulary may hold fewer pieces than the model's; the head is as wide as the config says.
    """
    torch.manual_seed(1)
    with quiet():
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=min(config.vocab_size, PIECES),
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token=END,
        pad_token=END,
        model_max_length=POSITIONS,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)


def stock_model(folder: Path, trained: Collection[str]) -> Any:
    """Return transformers' own model, with gradients for what a plan trains: ``backbone.*``, and the head if any is.

    ``trained`` are the plan's names. A head that is tied to the embedding is frozen as that is.
    """
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(folder)
    model.get_output_embeddings().requires_grad_(any(name.startswith("heads.") for name in trained))
    for name, tensor in model.base_model.named_parameters():
        tensor.requires_grad_(f"backbone.{name}" in trained)
    return model
