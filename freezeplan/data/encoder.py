"""What turns the rows of one modality into tensors: the forms that the trainer and a run's folder know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from freezeplan.data.findings import Flaws
from freezeplan.data.modality import Kind
from freezeplan.tasks.flaws import Flaw

if TYPE_CHECKING:
    import numpy
    import torch


class Encoded(Protocol):
    """Inputs of one kind, encoded."""

    @property
    def flaws(self) -> Flaws:
        """What is wrong with which row, counted from 1; with any, the inputs are not to be used."""

    @property
    def lengths(self) -> numpy.ndarray | None:
        """Real tokens of each text, None for images."""

    def digests(self) -> Iterator[bytes]:
        """Yield a hash of 32 bytes of what the model sees of each row."""

    def digest(self) -> bytes:
        """Return a hash of what the model sees of all rows, in their order."""

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
