"""A tiny random BERT with a word tokenizer, toy data that can be learned, and specs over them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from freezeplan.spec.tables import Spec

FILLERS = ["the", "a", "one", "my", "box", "is", "here", "now", "again", "so"]
TOPICS = {
    "app": ["screen", "login", "button"],
    "mail": ["parcel", "letter", "stamp"],
    "shop": ["price", "shelf", "till"],
}
MOODS = {"bad": ["broken", "awful"], "good": ["great", "lovely"]}
WORDS = [
    *FILLERS,
    *(word for words in TOPICS.values() for word in words),
    *(w for words in MOODS.values() for w in words),
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token per known word, BERT's special tokens around them."""
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *WORDS])}
    inner = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    )


def save_tiny_bert(folder: Path) -> Path:
    """Save a random two-layer BERT of width 16 and its tokenizer; returns the folder."""
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def toy_rows(count: int, seed: int) -> list[dict[str, str]]:
    """Return rows whose topic and mood are each given away by a word; texts of one seed are distinct."""
    chance, rows, seen = random.Random(seed), [], set()
    while len(rows) < count:
        topic, mood = chance.choice(list(TOPICS)), chance.choice(list(MOODS))
        words = [
            chance.choice(TOPICS[topic]),
            chance.choice(MOODS[mood]),
            *chance.choices(FILLERS, k=chance.randint(1, 6)),
        ]
        chance.shuffle(words)
        text = " ".join(words)
        if text not in seen:
            seen.add(text)
            rows.append({"text": text, "topic": topic, "mood": mood})
    return rows


def write_jsonl(path: Path, rows: Iterable[Any]) -> Path:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def write_toy_data(folder: Path, train: int = 96, other: int = 24) -> None:
    """Write train, validation and test files without a text in two of them."""
    rows = toy_rows(train + 2 * other, seed=1)
    write_jsonl(folder / "train.jsonl", rows[:train])
    write_jsonl(folder / "validation.jsonl", rows[train : train + other])
    write_jsonl(folder / "test.jsonl", rows[train + other :])


FROZEN_BACKBONE = [
    {"match": "backbone", "state": "frozen"},
    {"match": "heads", "state": "trainable"},
]


def toy_data(folder: Path, label: str, **more: Any) -> dict[str, Any]:
    """Return a task's data table over the toy files."""
    files = {name: str(folder / f"{name}.jsonl") for name in ("train", "validation", "test")}
    return files | {"label": label} | more


def toy_spec(folder: Path, **tables: Any) -> Spec:
    """Return a spec over the tiny model and toy data in ``folder``; keywords replace whole tables."""
    values: dict[str, Any] = {
        "model": {"source": str(folder / "bert")},
        "optimizer": {"lr": 0.05},
        "rule": FROZEN_BACKBONE,
        "task": [
            {"name": "topic", "data": toy_data(folder, "topic"), "dropout": 0.0},
            {"name": "mood", "data": toy_data(folder, "mood"), "dropout": 0.0},
        ],
        "train": {"epochs": 2, "batch_size": 16},
    }
    return Spec.model_validate(values | tables)
