"""Turns texts into the tensors that a backbone takes: tokenised once, padded per batch."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch

from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.positions import LONGEST, most_positions
from freezeplan.spec.tables import Spec
from freezeplan.train.checks import text_flaw
from freezeplan.train.findings import Flaw, spot
from freezeplan.train.kinds import TEXT, Kind

CHUNK = 1000


class Encoded(Protocol):
    """Inputs of one kind, encoded; ``flaws`` maps rows, counted from 1, to what makes them unusable."""

    @property
    def flaws(self) -> Mapping[int, Flaw]:
        """What is wrong with which row."""

    def __len__(self) -> int: ...


class Encoder(Protocol):
    """Turn inputs of one kind into tensors for one model, once, and batches of them on demand."""

    @property
    def kind(self) -> Kind:
        """What it takes."""

    @property
    def max_length(self) -> int | None:
        """Most tokens of a text, None where inputs are no texts."""

    def located(self, value: Any) -> Any:
        """Return an input for prediction in the form that the other methods take."""

    def flaw(self, value: Any) -> Flaw | None:
        """Say what is wrong with an input, as far as that can be told without encoding it."""

    def encode(self, values: Sequence[Any]) -> Encoded:
        """Encode inputs without a flaw."""

    def batch(self, encoded: Any, rows: Sequence[int], device: torch.device) -> dict[str, torch.Tensor]:
        """Return some rows, counted from 0, as the backbone's inputs on a device."""

    def save(self, folder: Path) -> None:
        """Write into a folder what makes the same encoder again."""


@dataclass(frozen=True)
class EncodedTexts:
    """Hold tokenised texts: for each of the tokenizer's inputs, one list of numbers per text."""

    inputs: dict[str, list[list[int]]]

    @property
    def flaws(self) -> Mapping[int, Flaw]:
        """The rows, counted from 1, that came out without any token."""
        bare = Flaw("text without any token")
        return {row: bare for row, ids in enumerate(self.inputs["input_ids"], 1) if not ids}

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
        advice = f"the tokenizer adds {added} token{'s' if added > 1 else ''} of its own to each"
        raise _unfit_length(spec, message, advice)
    return asked


def _unfit_length(spec: Spec, message: str, advice: str) -> DiagnosticError:
    return DiagnosticError([spot(spec, ("train", "max_length")).report("FP465", message, help=advice)])


def _pad(numbers: list[int], width: int, filler: int) -> list[int]:
    return numbers + [filler] * (width - len(numbers))


def in_chunks(count: int, size: int) -> Iterator[range]:
    """Yield ``range(count)`` in runs of at most ``size``.

    >>> [list(rows) for rows in in_chunks(5, 2)]
    [[0, 1], [2, 3], [4]]
    """
    for start in range(0, count, size):
        yield range(start, min(start + size, count))
