"""Tiny random language models with a tokenizer of bytes, rows in every form that they learn, and specs over them."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from freezeplan.outside.quiet import quiet
from freezeplan.spec.tables import Spec
from tests.train.tiny import toy_rows, write_jsonl

SPECIAL = ["<|end|>", "<|user|>", "<|assistant|>"]
TURNS = (
    "{% for message in messages %}{{ '<|' + message.role + '|>' + message.content + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
MARKED = (
    "{% for message in messages %}{{ '<|' + message.role + '|>' }}"
    "{% if message.role == 'assistant' %}{% generation %}{{ message.content + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ message.content + '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
SIZES = {"num_hidden_layers": 3, "num_attention_heads": 2, "max_position_embeddings": 64}
ENDS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
LLAMA = {"hidden_size": 32, "intermediate_size": 48, "num_key_value_heads": 1, **SIZES, **ENDS}
GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 2, "n_positions": 64, **ENDS}
CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": GPT2,
    "llama": LLAMA | {"tie_word_embeddings": False},
    "qwen3": LLAMA | {"head_dim": 16, "tie_word_embeddings": True},
    "gemma2": LLAMA | {"head_dim": 16, "final_logit_softcapping": 0.5, "sliding_window": 8},
}


@cache
def _inner() -> str:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator([row["text"] for row in toy_rows(60, seed=1)], trainer)
    return inner.to_str()


def byte_tokenizer(template: str | None = None) -> PreTrainedTokenizerFast:
    """Return a tokenizer of pieces of bytes, without a padding token, that adds nothing of its own to a text."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_inner()),
        eos_token="<|end|>",
        model_max_length=64,
        model_input_names=["input_ids", "attention_mask"],
    )
    tokenizer.chat_template = template
    return tokenizer


def save_language_model(
    folder: Path, kind: str = "llama", template: str | None = None, **config: Any
) -> Path:
    """Save a random language model of three layers of 32, and its tokenizer; returns the folder."""
    tokenizer = byte_tokenizer(template)
    values = {"vocab_size": len(tokenizer), "initializer_range": 0.2, **CONFIGS[kind], **config}
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = transformers.AutoModelForCausalLM.from_config(
            transformers.AutoConfig.for_model(kind, **values)
        )
        made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def language_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Return rows with a text, the same as a prompt with a completion, and a conversation."""
    chance = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for row in toy_rows(count, seed):
        words = row["text"].split()
        cut = chance.randint(1, len(words) - 1)
        prompt, completion = " ".join(words[:cut]), "".join(f" {word}" for word in words[cut:])
        turns = [("user", prompt), ("assistant", completion), ("user", "more"), ("assistant", words[0])]
        messages = [{"role": role, "content": content} for role, content in turns]
        rows.append(row | {"prompt": prompt, "completion": completion, "messages": messages})
    return rows


def write_language_data(folder: Path, train: int = 48, other: int = 16) -> Path:
    """Write training and validation rows; returns the folder."""
    rows = language_rows(train + other, seed=1)
    write_jsonl(folder / "train.jsonl", rows[:train])
    write_jsonl(folder / "validation.jsonl", rows[train:])
    return folder


TOP = [
    {"match": "**", "state": "frozen"},
    {"match": ["@layers[-1:]", "@final_norm"], "state": "trainable"},
]
TEXT: dict[str, Any] = {"text": "text"}
PROMPT = {"prompt": "prompt", "completion": "completion"}
MESSAGES = {"messages": "messages"}


def language_task(folder: Path, name: str = "story", **columns: str) -> dict[str, Any]:
    """Return a task over the rows in a folder: their texts, unless columns are named."""
    files = {split: str(folder / f"{split}.jsonl") for split in ("train", "validation")}
    return {"name": name, "kind": "causal_lm", "data": files | (columns or TEXT)}


def language_spec(folder: Path, model: Path, columns: dict[str, str] | None = None, **tables: Any) -> Spec:
    """Return a spec that trains the last of three layers; keywords replace whole tables."""
    values: dict[str, Any] = {
        "model": {"source": str(model)},
        "optimizer": {"lr": 3e-3},
        "rule": TOP,
        "task": [language_task(folder, **(columns or TEXT))],
        "train": {"epochs": 2, "batch_size": 8},
    }
    return Spec.model_validate(values | tables)
