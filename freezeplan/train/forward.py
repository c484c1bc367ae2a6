"""The one place where a batch runs through the model, in training and in evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy
import torch

from freezeplan.apply.sharding import reshard_parameters
from freezeplan.data.encoder import Encoded, Encoder
from freezeplan.prefix import Cut, PrefixStore, prefix_in_eval_mode
from freezeplan.tasks import TaskKind


@contextmanager
def in_eval_mode(model: torch.nn.Module) -> Iterator[None]:
    """Put a model into eval mode for a block, then back into the mode it was in, its tensors shared out again."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
        reshard_parameters(model)


@dataclass(frozen=True)
class EncodedSplit:
    """Hold one split of one task, ready for the model: encoded inputs and the targets of each row.

    ``name`` is its name in the store of frozen prefixes, empty where it is never looked up there.
    """

    inputs: Encoded
    kind: TaskKind
    targets: Any
    labels: tuple[str, ...] = ()
    name: str = ""

    def __len__(self) -> int:
        return len(self.inputs) // self.kind.texts

    def entries(self, rows: Sequence[int]) -> Sequence[int]:
        """Return where the inputs of some rows stand: of rows of several texts all first ones, then all second ones."""
        if not self.kind.compares:
            return rows
        return [row + text * len(self) for text in range(self.kind.texts) for row in rows]

    def target(self, rows: Sequence[int], device: torch.device) -> torch.Tensor:
        """Return the targets of some rows on a device."""
        return self.kind.collate(self.targets, rows, device)

    @property
    def lengths(self) -> numpy.ndarray | None:
        """Tokens of each row (of several texts, of the longest), None for images."""
        lengths = self.inputs.lengths
        if lengths is None or not self.kind.compares:
            return lengths
        return lengths.reshape(self.kind.texts, -1).max(axis=0)

    @cached_property
    def longest_first(self) -> Sequence[int]:
        """All rows, long texts first, so that a batch of neighbours holds little padding."""
        lengths = self.lengths
        if lengths is None:
            return range(len(self))
        return numpy.argsort(-lengths, kind="stable").astype(numpy.int32)


@dataclass
class Forward:
    """Run rows of a split through a model that takes ``task=`` and a batch, and returns its head's outputs.

    Below ``cut`` the model runs in eval mode, or, where ``store`` holds the split, not at all: the numbers are
    the same up to rounding. Without a cut the model's own forward runs as it is.
    """

    model: torch.nn.Module
    encoder: Encoder
    device: torch.device
    cut: Cut | None = None
    store: PrefixStore | None = None

    def outputs(self, task: str, split: EncodedSplit, rows: Sequence[int]) -> Any:
        """Return what a task's head puts out for rows of a split, counted from 0, as float32.

        Of the model's own head that is a :class:`TokenLogits`, which stands for it.
        """
        count, rows = len(rows), split.entries(rows)
        stored = self.store is not None and split.name in self.store.examples.entries
        unread = stored and self.cut.whole
        batch = {} if unread else self.encoder.batch(split.inputs, rows, self.device)
        if split.kind.own_head:
            batch["by_token"] = True
        with self._prefix(split.name if stored else None, rows):
            return split.kind.by_row(self.model(task=task, **batch).float(), count)

    def _prefix(self, stored: str | None, rows: Sequence[int]) -> AbstractContextManager[None]:
        if self.cut is None:
            return nullcontext()
        if stored is None:
            return prefix_in_eval_mode(self.model, self.cut)
        return self.store.replaying(self.cut, stored, rows)
