"""Modules of one's own around small models, in the shapes that libraries give them."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

from freezeplan.outside.quiet import quiet

SMALL = {
    "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 8, "vocab_size": 12,
    "max_position_embeddings": 8,
}  # fmt: skip


def bert(class_name: str = "BertModel") -> Any:
    """Build a small BERT with random weights."""
    with quiet():
        return getattr(transformers, class_name)(transformers.BertConfig(**SMALL))


class Around(nn.Module):
    """Hold the given modules and parameters under the given names."""

    def __init__(self, **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


class Transformer(nn.Module):
    """The first module of a SentenceTransformer."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.auto_model = model


class Pooling(nn.Module):
    """The second module of a SentenceTransformer, without weights."""


class Dense(nn.Module):
    """A further module of a SentenceTransformer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 4)
        self.activation_function = nn.Tanh()


class SentenceTransformer(nn.Sequential):
    """A sentence encoder in the shape that sentence-transformers gives it."""

    def __init__(self, *more: nn.Module, model: nn.Module | None = None) -> None:
        super().__init__(Transformer(model or bert()), Pooling(), *more)


class SoftmaxLoss(nn.Module):
    """A loss that holds the sentence encoder, and a classifier of its own."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.classifier = nn.Linear(24, 3)


def vision_tower() -> nn.Module:
    """Return a plain torch model of images."""
    blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)) for _ in range(2))
    return Around(stem=nn.Conv2d(3, 4, 3), blocks=blocks)


def text_decoder() -> dict[str, nn.Module]:
    """Return the parts of a plain torch decoder that stand beside an encoder."""
    layers = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 8), 2)
    return {"words": nn.Embedding(12, 8), "decoder": layers, "out": nn.Linear(8, 12)}


def scale() -> nn.Parameter:
    """Return a parameter that a module holds itself."""
    return nn.Parameter(torch.ones(1))
