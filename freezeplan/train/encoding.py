"""Turns texts into the tensors that a backbone takes: tokenised once, padded per batch."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from freezeplan.data.findings import Flaw, Flaws
from freezeplan.data.modality import TEXT, Kind
from freezeplan.data.values import text_flaw
from freezeplan.diagnostics import DiagnosticError
from freezeplan.diagnostics.wording import counted
from freezeplan.models.positions import LONGEST, most_positions
from freezeplan.spec.tables import Spec

CHUNK = 1000


@dataclass(frozen=True)
class EncodedTexts:
    """Hold tokenised texts: for each of the tokenizer's inputs, one list of numbers per text."""

    inputs: dict[str, list[list[int]]]

    @property
    def flaws(self) -> Flaws:
        """The rows, counted from 1, that came out without any token."""
        bare = Flaw("text without any token")
        return Flaws({row: bare for row, ids in enumerate(self.inputs["input_ids"], 1) if not ids})

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])


@dataclass(frozen=True)
class TextEncoder:
    """Tokenise texts for one model, and pad batches of them.

    ``names`` are the inputs that both the tokenizer gives and the backbone takes; ``max_length`` is in
    tokens.
    """

    tokenizer: Any
    names: tuple[str, ...]
    max_length: int
    kind: ClassVar[Kind] = TEXT

    def located(self, value: Any) -> Any:
        """Return the text itself."""
        return value

    def flaw(self, value: Any) -> Flaw | None:
        """Say what a value is when it is not a text to classify."""
        return text_flaw(value)

    def encode(self, texts: Sequence[str]) -> EncodedTexts:
        """Tokenise texts, cutting each at ``max_length`` tokens; a text may come out without any token."""
        inputs: dict[str, list[list[int]]] = {name: [] for name in self.names}
        for start in range(0, len(texts), CHUNK):
            chunk = self.tokenizer(
                list(texts[start : start + CHUNK]), truncation=True, max_length=self.max_length, padding=False
            )
            for name in self.names:
                inputs[name] += chunk[name]
        return EncodedTexts(inputs)

    def batch(
        self, texts: EncodedTexts, rows: Sequence[int], device: torch.device
    ) -> dict[str, torch.Tensor]:
        """Return the chosen rows as tensors ``(rows, longest of them)`` on a device, padded on the right."""
        width = max(len(texts.inputs["input_ids"][row]) for row in rows)
        padded = {
            name: [_pad(texts.inputs[name][row], width, self._filler(name)) for row in rows]
            for name in self.names
        }
        return {name: torch.tensor(values).to(device, non_blocking=True) for name, values in padded.items()}

    def save(self, folder: Path) -> None:
        """Write the tokenizer into a folder."""
        self.tokenizer.save_pretrained(folder)

    def _filler(self, name: str) -> int:
        if name == "input_ids":
            return self.tokenizer.pad_token_id or 0
        return self.tokenizer.pad_token_type_id if name == "token_type_ids" else 0


def make_text_encoder(tokenizer: Any, backbone: torch.nn.Module, max_length: int) -> TextEncoder:
    """Return the encoder for a backbone; inputs that its ``forward`` does not name are left out.

    A mask of real tokens is always among them: without it padding would count.
    """
    taken = inspect.signature(backbone.forward).parameters
    names = [name for name in (*tokenizer.model_input_names, "attention_mask") if name in taken]
    return TextEncoder(tokenizer, tuple(dict.fromkeys(["input_ids", *names])), max_length)


def longest_text(spec: Spec, tokenizer: Any, backbone: torch.nn.Module) -> int:
    """Return the most tokens of a text: the spec's ``max_length``, else what the model takes, at most 512.

    Raises ``DiagnosticError`` (FP465) when the spec asks for more than the model has positions for, or for no
    more than the tokenizer adds to every text.
    """
    limit = min(int(tokenizer.model_max_length), most_positions(backbone))
    asked = spec.train.max_length
    if asked is None:
        return min(LONGEST, limit)
    if asked > limit:
        message = f"max_length = {asked} is more than the model takes"
        raise _unfit_length(spec, message, f"the model takes {limit} tokens at most")
    added = tokenizer.num_special_tokens_to_add()
    if asked <= added:
        message = f"max_length = {asked} leaves no room for a text"
        advice = f"the tokenizer adds {counted(added, 'token')} of its own to each"
        raise _unfit_length(spec, message, advice)
    return asked


def _unfit_length(spec: Spec, message: str, advice: str) -> DiagnosticError:
    return spec.locations.error(("train", "max_length"), "FP465", message, help=advice)


def _pad(numbers: list[int], width: int, filler: int) -> list[int]:
    return numbers + [filler] * (width - len(numbers))
