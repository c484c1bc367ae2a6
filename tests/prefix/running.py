"""Short trainings of tiny models with and without a store, and whether they end in the same bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from freezeplan.models.multitask import MultiTaskModel
from freezeplan.prefix import Cut, PrefixStore, Refused, StoreSettings, find_cut, prefix_in_eval_mode
from freezeplan.train.image_encoding import EncodedImages
from freezeplan.train.tokens import encoded_texts
from tests.prefix.architectures import (
    IMAGE,
    MEL,
    TEXT,
    WAVE,
    Architecture,
    build,
    frozen_below,
    make_batch,
)

WIDTH = 12
LENGTHS = (3, 9, 5, 7, 4, 11, 6, 8, 10, 5, 3, 8)
BATCH, EPOCHS = 4, 2
INPUTS = {IMAGE: "pixel_values", WAVE: "input_values", MEL: "input_features"}
Mode = Callable[[str, Sequence[int]], AbstractContextManager[None]]


@dataclass
class Data:
    """Hold one encoded set for each of two tasks, and make batches of it; texts have one fixed width."""

    reads: str = TEXT
    lengths: Sequence[int] = LENGTHS
    seed: int = 1
    width: int = WIDTH

    def __post_init__(self) -> None:
        batch = make_batch(self.reads, self.lengths, self.seed, self.width)
        if self.reads != TEXT:
            self.encoded = EncodedImages(list(next(iter(batch.values()))), lambda image: image)
        else:
            ids = [
                row[:length] for row, length in zip(batch["input_ids"].tolist(), self.lengths, strict=True)
            ]
            self.encoded = encoded_texts(
                {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]}
            )
        self.sources = {"topic": self.encoded, "mood": self.encoded}
        self.changed: dict[int, list[int]] = {}

    @property
    def ids(self) -> list[list[int]]:
        """The tokens of each text."""
        return [self.encoded.row("input_ids", row).tolist() for row in range(len(self.encoded))]

    def batch(self, source: str, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """Return some rows as the model's inputs."""
        encoded = self.sources[source]
        if self.reads != TEXT:
            return {INPUTS[self.reads]: encoded.pixels(rows)}
        ids = [self.changed.get(row, encoded.row("input_ids", row).tolist()) for row in rows]
        return {
            "input_ids": torch.tensor([row + [0] * (self.width - len(row)) for row in ids]),
            "attention_mask": torch.tensor([[1] * len(row) + [0] * (self.width - len(row)) for row in ids]),
        }


@dataclass(frozen=True)
class History:
    """Hold what a training did: losses, gradients by name after each step, and the weights at the end."""

    losses: list[torch.Tensor]
    gradients: list[dict[str, torch.Tensor]]
    weights: dict[str, torch.Tensor]

    def equals(self, other: History) -> bool:
        """Whether two trainings are the same bit for bit, with gradients for the same tensors."""
        return self.trained == other.trained and same_bits(self._numbers(), other._numbers())

    def distance(self, other: History) -> float:
        """Return the largest difference of a loss, gradient or weight, infinite where other tensors trained."""
        if self.trained != other.trained:
            return float("inf")
        pairs = zip(self._numbers(), other._numbers(), strict=True)
        return max(float((a.double() - b.double()).abs().max()) for a, b in pairs if a.numel())

    @property
    def trained(self) -> list[list[str]]:
        """The names of the tensors that got a gradient, by step."""
        return [list(step) for step in self.gradients]

    def _numbers(self) -> list[torch.Tensor]:
        found = [tensor for step in self.gradients for tensor in step.values()]
        return [*self.losses, *found, *self.weights.values()]


def same_bits(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> bool:
    """Whether two lists of tensors are equal bit for bit."""
    return len(left) == len(right) and all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def training(model: MultiTaskModel, data: Data, mode: Mode, inputs: bool = True) -> History:
    """Train a model for two epochs, tasks in turn, each forward within ``mode(source, rows)``."""
    torch.manual_seed(5)
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    losses, gradients = [], []
    for _ in range(EPOCHS):
        for start in range(0, len(data.lengths), BATCH):
            for task in data.sources:
                rows = list(range(start, start + BATCH))
                optimizer.zero_grad(set_to_none=True)
                truth = torch.tensor([row % 2 for row in rows])
                with mode(task, rows):
                    loss = cross_entropy(
                        model(task=task, **(data.batch(task, rows) if inputs else {})), truth
                    )
                loss.backward()
                found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
                losses.append(loss.detach())
                gradients.append(found)
                optimizer.step()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    return History(losses, gradients, weights)


@dataclass(frozen=True)
class Outcome:
    """Say what became of one architecture: the cut, or the refusal, and how far apart the trainings ended."""

    cut: Cut | None = None
    refusal: Refused | None = None
    equal: bool = False
    distance: float = float("inf")

    @property
    def statement(self) -> str:
        """The line of the log."""
        return self.cut.prefix.statement if self.cut else self.refusal.statement


def outcome(architecture: Architecture, share: float) -> Outcome:
    """Train an architecture with and without the store, with a share of its layers frozen."""
    data = Data(architecture.reads)
    expected_of, model = build(architecture), build(architecture)
    frozen_below(expected_of, share)
    inventory, plan = frozen_below(model, share)
    model.train()
    try:
        kept = plan.phases[0].kept_in_train_mode
        cut = find_cut(model, inventory.stacks, data.batch("topic", range(4)), kept=kept)
        store = PrefixStore(model, data.sources, data.batch, StoreSettings())
        store.prepare([cut], batch_size=5)
    except Refused as refusal:
        return Outcome(refusal=refusal)
    expected = training(expected_of, data, lambda *_: prefix_in_eval_mode(expected_of, cut))
    found = training(model, data, lambda task, rows: store.replaying(cut, task, rows), inputs=not cut.whole)
    return Outcome(cut, None, found.equals(expected), found.distance(expected))
