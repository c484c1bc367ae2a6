"""Tiny vision models and the digits of scikit-learn for the trainer's tests."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import torch
import transformers

from freezeplan.outside.quiet import quiet
from freezeplan.spec.tables import Spec

ROOT = Path(__file__).parents[2]
VIT = {
    "model_type": "vit",
    "image_size": 8,
    "patch_size": 4,
    "num_channels": 1,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "initializer_range": 0.2,
    "hidden_dropout_prob": 0.0,
}
LABELS = {"digit": [str(number) for number in range(10)], "parity": ["even", "odd"]}
EVERYTHING = [
    {"match": "**", "except": "@pooler", "state": "trainable"},
    {"match": "@pooler", "state": "frozen"},
]


def write_digits(folder: Path) -> None:
    """Write the digits as the example's script does."""
    runpy.run_path(str(ROOT / "examples" / "make_digits.py"))["main"](folder)


def save_resnet(folder: Path) -> Path:
    """Save a random ResNet of two stages, and an image processor that makes digits 32 x 32; returns the folder."""
    config = transformers.ResNetConfig(
        num_channels=1, embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic"
    )
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        transformers.ResNetModel(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    transformers.ViTImageProcessorPil(size=size, image_mean=[0.3], image_std=[0.4]).save_pretrained(folder)
    return folder


def digits_spec(
    data: Path, model: dict[str, Any], tasks: tuple[str, ...] = ("digit", "parity"), **tables: Any
) -> Spec:
    """Return a spec over the digits in a folder; keywords replace whole tables."""
    files = {split: str(data / f"{split}.jsonl") for split in ("train", "validation", "test")}
    values: dict[str, Any] = {
        "model": model,
        "optimizer": {"lr": 3e-3, "weight_decay": 0.05, "no_decay": "timm"},
        "schedule": {"name": "cosine", "warmup": 0.1},
        "rule": EVERYTHING,
        "task": [
            {"name": task, "labels": LABELS[task], "data": files | {"image": "image", "label": task}}
            for task in tasks
        ],
        "train": {"epochs": 5, "batch_size": 32, "mixing": "joint"},
    }
    return Spec.model_validate(values | tables)
