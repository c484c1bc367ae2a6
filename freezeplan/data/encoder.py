"""What turns the rows of one modality into tensors: the forms that the trainer and a run's folder know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from freezeplan.data.findings import Flaw
from freezeplan.data.modality import Kind

if TYPE_CHECKING:
    import torch


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
