"""The bytes of a phase: two rounds of fake steps with the plan's own optimizer, every tensor counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch.nn.utils import clip_grad_norm_

from freezeplan.apply.buckets import sum_in_buckets
from freezeplan.apply.sharding import reshard_parameters
from freezeplan.apply.sharing_out import clip_parts
from freezeplan.apply.tensors import own_part
from freezeplan.cost.records import Memory
from freezeplan.cost.tracking import LiveBytes, NumbersAsOne, Window
from freezeplan.cost.trial import Trial
from freezeplan.prefix.examples import rows_at_once

# The first round makes the optimizer's state, the second finds it there.
ROUNDS = 2
# A third batch of an accumulated step needs no more than the second.
MOST_BATCHES = 2


def measure_memory(
    trial: Trial, optimizer: torch.optim.Optimizer | None, learning: tuple[str, ...], rounds: int = ROUNDS
) -> Memory:
    """Count what the steps of a phase need; the phase has been put on the trial's model and on its optimizer.

    ``learning`` are the objectives that train. With none, one forward pass in eval mode is counted. The
    optimizer keeps the state that it has then, as between two phases of a run; the gradients are gone. One round is
    enough where the optimizer has taken steps of the phase.
    """
    live = LiveBytes()
    run = _Steps(trial, live)
    with trial.running():
        reshard_parameters(trial.model)
    for tensor in (*_weights(trial), *_state(optimizer)):
        live.add(tensor)
    with trial.running(), live, live.window() as whole:
        if learning and optimizer is not None:
            run.train(optimizer, learning, rounds)
        else:
            run.evaluate(trial.batch_size)
    state = nbytes(_state(optimizer))
    return Memory(
        weights=nbytes(_weights(trial)),
        gradients=run.gradients,
        optimizer_state=state,
        activations=max(window.peak - window.start for window in run.forwards),
        saved=max(window.end - window.start for window in run.forwards),
        peak=whole.peak,
        evaluation=_evaluation(trial, optimizer) if trial.evaluates else None,
    )


def _evaluation(trial: Trial, optimizer: torch.optim.Optimizer | None) -> int:
    """Count an evaluation between two epochs: state and the last step's gradients are still there."""
    live = LiveBytes()
    run = _Steps(trial, live)
    gradients = [tensor.grad for tensor in trial.model.parameters() if tensor.grad is not None]
    for tensor in (*_weights(trial), *_state(optimizer), *gradients):
        live.add(tensor)
    with trial.running(), live:
        run.evaluate(rows_at_once("cpu", trial.train.eval_batch_size))
    return max(window.peak for window in run.forwards)


def _weights(trial: Trial) -> Iterator[torch.Tensor]:
    yield from trial.model.parameters()
    yield from trial.model.buffers()


def _state(optimizer: torch.optim.Optimizer | None) -> Iterator[torch.Tensor]:
    for values in optimizer.state.values() if optimizer else ():
        yield from (value for value in values.values() if isinstance(value, torch.Tensor))


@dataclass
class _Steps:
    """Take steps and remember the windows of the forward passes, the gradients and the state."""

    trial: Trial
    live: LiveBytes
    forwards: list[Window] = field(default_factory=list)
    gradients: int = 0

    def train(self, optimizer: torch.optim.Optimizer, learning: tuple[str, ...], rounds: int) -> None:
        """Take the steps of some rounds, as the mixing of the spec orders them."""
        table = self.trial.train
        batches = min(table.accumulation, MOST_BATCHES)
        steps = [learning] if table.mixing == "joint" else [(name,) for name in learning]
        for _ in range(rounds):
            for names in steps:
                self._step(optimizer, [name for name in names for _ in range(batches)])

    def _step(self, optimizer: torch.optim.Optimizer, names: Iterable[str]) -> None:
        optimizer.zero_grad(set_to_none=True)
        if self.trial.train.balancing is None:
            for name in names:
                self._loss(name).backward()
        else:
            self._balance(names)
        trained = [tensor for group in optimizer.param_groups for tensor in group["params"]]
        if self.trial.sharing.way == "replicate":
            # What an exchange puts out is a new array.
            sum_in_buckets([tensor for tensor in trained if tensor.grad is not None], torch.clone)
        self.gradients = max(self.gradients, nbytes(t.grad for t in trained if t.grad is not None))
        if self.trial.train.clip_norm is not None:
            clip = clip_parts if self.trial.sharing.way == "shard" else clip_grad_norm_
            clip(trained, self.trial.train.clip_norm)
        with NumbersAsOne():
            optimizer.step()

    def _balance(self, names: Iterable[str]) -> None:
        """Run the backward passes of a step that keeps each task's gradients of the backbone until it weighs them."""
        shared = [tensor for tensor in self.trial.model.backbone.parameters() if tensor.requires_grad]
        rows: list[list[torch.Tensor | None]] = []
        for _, own in groupby(names):
            for name in own:
                self._loss(name).backward()
            rows.append([tensor.grad for tensor in shared])
            for tensor in shared:
                tensor.grad = None
        held = [gradient for row in rows for gradient in row if gradient is not None]
        self.gradients = max(self.gradients, nbytes(held))
        for tensor, column in zip(shared, zip(*rows, strict=True), strict=True):
            parts = [gradient for gradient in column if gradient is not None]
            tensor.grad = sum(parts[1:], parts[0] * 1.0) if parts else None

    def _loss(self, name: str) -> torch.Tensor:
        with self.live.window() as window:
            loss = self.trial.loss(name)
        self.forwards.append(window)
        return loss

    def evaluate(self, rows: int) -> None:
        """Run each objective's forward pass in eval mode without gradients."""
        model = self.trial.model
        model.eval()
        with torch.no_grad():
            for name in self.trial.objectives:
                with self.live.window() as window:
                    self.trial.evaluate(name, rows)
                self.forwards.append(window)
        model.train()


def nbytes(tensors: Iterable[torch.Tensor]) -> int:
    """Add up the bytes of the storages of some tensors, each once; of those shared out, of this process's parts."""
    storages = [own_part(tensor).untyped_storage() for tensor in tensors]
    return sum({storage._cdata: storage.nbytes() for storage in storages}.values())
