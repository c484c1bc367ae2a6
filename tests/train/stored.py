"""Runs of the trainer with and without the store over tiny models of many architectures, and how far apart they end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from freezeplan.models.run_weights import weights_of_run
from freezeplan.runs.events import Event, ExecutionChosen
from freezeplan.spec.tables import Spec
from freezeplan.train.encoding import TextEncoder
from freezeplan.train.run import RunResult, train
from freezeplan.train.tokens import EncodedTexts
from tests.prefix.architectures import Architecture, build
from tests.train.tiny import tiny_tokenizer, toy_data

WIDTH = 16
HEADS = [{"match": "backbone", "state": "frozen"}, {"match": "heads", "state": "trainable"}]
ALL = [{"match": "backbone", "state": "trainable"}]
TWO_STACKS = ("t5", "bart")


def thaw(layers: int, stack: str = "") -> list[dict[str, Any]]:
    """Return the rule that thaws some layers from the top."""
    return [{"match": f"{stack}@layers[-{layers}:]", "state": "trainable"}]


def thawing(stack: str = "") -> list[dict[str, Any]]:
    """Return three phases with a cut each: above all layers, below the last, below the last two."""
    return [
        {"name": "heads", "epochs": 1},
        {"name": "top", "epochs": 1, "rule": thaw(1, stack)},
        {"name": "half", "epochs": 1, "rule": thaw(2, stack)},
    ]


def save_architecture(folder: Path, architecture: Architecture) -> Path:
    """Save a tiny random backbone of an architecture with the word tokenizer; returns the folder."""
    build(architecture).backbone.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def stored_spec(toy: Path, model: Path, phases: list[dict[str, Any]] | None = None, **train: Any) -> Spec:
    """Return a spec of two tasks that thaws a model from the top; ``train`` adds to its table."""
    tasks = [{"name": name, "data": toy_data(toy, name), "dropout": 0.1} for name in ("topic", "mood")]
    return Spec.model_validate(
        {
            "model": {"source": str(model)},
            "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9},
            "rule": HEADS,
            "task": tasks,
            "phase": thawing() if phases is None else phases,
            "train": {"batch_size": 16, "eval_batch_size": 8, **train},
        }
    )


def in_files(toy: Path) -> Spec:
    """Return a spec over the tiny model whose store lies in files, and is made twice."""
    phases = [*thawing()[:2], {"name": "all", "epochs": 1, "rule": ALL}, {"epochs": 2, "rule": HEADS}]
    return stored_spec(toy, toy / "bert", phases, store_budget="1 B", checkpoint_steps=5)


def pad_to_one_width(patch: pytest.MonkeyPatch) -> None:
    """Pad every batch to more tokens than any text has: no mask is all ones, all take one kernel."""

    def batch(
        self: TextEncoder, texts: EncodedTexts, rows: Sequence[int], device: torch.device
    ) -> dict[str, torch.Tensor]:
        found = {}
        for name in self.names:
            lists = [texts.row(name, row).tolist() for row in rows]
            filler = self._filler(name)
            found[name] = torch.tensor([row + [filler] * (WIDTH - len(row)) for row in lists])
        return found

    patch.setattr(TextEncoder, "batch", batch)


class Ran:
    """One finished run: what it said, its log and its weights."""

    def __init__(self, spec: Spec, out: Path) -> None:
        self.events: list[Event] = []
        self.result: RunResult = train(spec, out, self.events.append)
        assert self.result.status == "finished"
        self.weights = weights_of_run(out)
        self.log = [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]

    @property
    def statements(self) -> list[str]:
        """What was chosen for each phase."""
        return [event.statement for event in self.events if isinstance(event, ExecutionChosen)]

    def equals(self, other: Ran) -> bool:
        """Whether two runs have the same losses, metrics and weights bit for bit."""
        same = all(torch.equal(tensor, other.weights[name]) for name, tensor in self.weights.items())
        return same and self.log == other.log

    def distance(self, other: Ran) -> float:
        """Return the largest difference of a loss or a weight."""
        pairs = zip(self._losses(), other._losses(), strict=True)
        losses = max(abs(left - right) for left, right in pairs)
        tensors = [
            (tensor.double() - other.weights[name].double()).abs().max()
            for name, tensor in self.weights.items()
            if tensor.numel()
        ]
        return max(losses, *map(float, tensors))

    def _losses(self) -> list[float]:
        found = [record["losses"] for record in self.log if record["kind"] == "step"]
        return [value for losses in found for value in losses.values()]
