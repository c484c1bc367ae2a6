"""Turns texts into the tensors that a backbone takes: tokenised once, padded per batch."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from freezeplan.diagnostics import DiagnosticError
from freezeplan.spec.tables import Spec
from freezeplan.train.findings import spot

LONGEST = 512
CHUNK = 1000


@dataclass(frozen=True)
class Encoded:
    """Hold tokenised texts: for each of the tokenizer's inputs, one list of numbers per text."""

    inputs: dict[str, list[list[int]]]

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])


@dataclass(frozen=True)
class Encoder:
    """Tokenise texts for one model, and pad batches of them.

    ``names`` are the inputs that both the tokenizer gives and the backbone takes; ``max_length`` is in
    tokens.
    """

    tokenizer: Any
    names: tuple[str, ...]
    max_length: int

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Tokenise texts, cutting each at ``max_length`` tokens; a text may come out without any token."""
        inputs: dict[str, list[list[int]]] = {name: [] for name in self.names}
        for start in range(0, len(texts), CHUNK):
            chunk = self.tokenizer(
                list(texts[start : start + CHUNK]), truncation=True, max_length=self.max_length, padding=False
            )
            for name in self.names:
                inputs[name] += chunk[name]
        return Encoded(inputs)

    def batch(self, texts: Encoded, rows: Sequence[int], device: torch.device) -> dict[str, torch.Tensor]:
        """Return the chosen rows as tensors ``(rows, longest of them)`` on a device, padded on the right."""
        width = max(len(texts.inputs["input_ids"][row]) for row in rows)
        padded = {
            name: [_pad(texts.inputs[name][row], width, self._filler(name)) for row in rows]
            for name in self.names
        }
        return {name: torch.tensor(values).to(device, non_blocking=True) for name, values in padded.items()}

    def _filler(self, name: str) -> int:
        if name == "input_ids":
            return self.tokenizer.pad_token_id or 0
        return self.tokenizer.pad_token_type_id if name == "token_type_ids" else 0


def make_encoder(tokenizer: Any, backbone: torch.nn.Module, max_length: int) -> Encoder:
    """Return the encoder for a backbone; inputs that its ``forward`` does not name are left out.

    A mask of real tokens is always among them: without it padding would count.
    """
    taken = inspect.signature(backbone.forward).parameters
    names = [name for name in (*tokenizer.model_input_names, "attention_mask") if name in taken]
    return Encoder(tokenizer, tuple(dict.fromkeys(["input_ids", *names])), max_length)


def longest_text(spec: Spec, tokenizer: Any, backbone: torch.nn.Module) -> int:
    """Return the most tokens of a text: the spec's ``max_length``, else what the model takes, at most 512.

    Raises ``DiagnosticError`` (FP465) when the spec asks for more than the model has positions for.
    """
    limit = min(int(tokenizer.model_max_length), _positions(backbone))
    asked = spec.train.max_length
    if asked is None:
        return min(LONGEST, limit)
    if asked > limit:
        place = spot(spec, ("train", "max_length"))
        message = f"max_length = {asked} is more than the model takes"
        raise DiagnosticError(
            [place.report("FP465", message, help=f"the model takes {limit} tokens at most")]
        )
    return asked


def _positions(backbone: torch.nn.Module) -> int:
    config = getattr(backbone, "config", None)
    found = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions")]
    limit = min([number for number in found if isinstance(number, int) and number > 0], default=10**9)
    return limit - _reserved_positions(backbone)


def _reserved_positions(backbone: torch.nn.Module) -> int:
    """Count the positions that RoBERTa-like embeddings give to padding and never to a text."""
    for name, module in backbone.named_modules():
        padding = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and isinstance(padding, int):
            return padding + 1
    return 0


def _pad(numbers: list[int], width: int, filler: int) -> list[int]:
    return numbers + [filler] * (width - len(numbers))


def in_chunks(count: int, size: int) -> Iterator[range]:
    """Yield ``range(count)`` in runs of at most ``size``.

    >>> [list(rows) for rows in in_chunks(5, 2)]
    [[0, 1], [2, 3], [4]]
    """
    for start in range(0, count, size):
        yield range(start, min(start + size, count))
