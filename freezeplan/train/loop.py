"""The training loop: one epoch at a time, exactly what the plan's groups and the course say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch.nn.functional import cross_entropy

from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.train.batches import Course, Part
from freezeplan.train.encoding import Encoder
from freezeplan.train.evaluation import EncodedSplit
from freezeplan.train.events import Observer, StepDone
from freezeplan.train.gradients import GradientWatch
from freezeplan.train.metrics_log import MetricsLog

STEPS_PER_REPORT_ON_DEVICE = 20


@dataclass
class Loop:
    """Hold what one run's steps need; :meth:`run_epoch` is the only thing it does.

    ``model`` takes ``task=`` and a batch and returns logits. ``weights`` are the factors of the tasks'
    losses. The loop decides no learning rate: it steps the optimizer's groups and one schedule over them.
    """

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    accelerator: Accelerator
    encoder: Encoder
    data: Mapping[str, EncodedSplit]
    weights: Mapping[str, float]
    course: Course
    clip_norm: float | None
    watch: GradientWatch
    log: MetricsLog
    observer: Observer

    def run_epoch(self, epoch: int) -> dict[str, float]:
        """Train one epoch, counted from 0; returns each task's mean loss over the epoch's steps.

        Reports losses and every group's rate at each step on a CPU, every 20 steps elsewhere (reading a loss
        off an accelerator makes it wait). Raises ``DiagnosticError`` (FP503) at a loss that is not finite.
        """
        self.model.train()
        pending: list[tuple[int, dict[str, torch.Tensor]]] = []
        sums = {task: [0.0, 0] for task in self.course.sizes}
        first = epoch * self.course.steps_per_epoch
        for step, parts in enumerate(self.course.epoch_parts(epoch), first):
            rates = self._rates()
            pending.append((step + 1, self._step(parts)))
            self.watch.see_rates(rates)
            if len(pending) >= self._report_every or step + 1 == first + self.course.steps_per_epoch:
                self._report(epoch, pending, rates, sums)
                pending = []
        return {task: total / count for task, (total, count) in sums.items() if count}

    @property
    def _report_every(self) -> int:
        return 1 if self.accelerator.device.type == "cpu" else STEPS_PER_REPORT_ON_DEVICE

    def _rates(self) -> dict[str, float]:
        return {group["name"]: float(group["lr"]) for group in self.optimizer.param_groups}

    def _step(self, parts: tuple[Part, ...]) -> dict[str, torch.Tensor]:
        self.optimizer.zero_grad(set_to_none=True)
        losses = self.accumulate_gradients(parts)
        self.watch.see_gradients(self.model, losses)
        if self.clip_norm is not None:
            trained = [tensor for group in self.optimizer.param_groups for tensor in group["params"]]
            self.accelerator.clip_grad_norm_(trained, self.clip_norm)
        self.optimizer.step()
        self.schedule.step()
        return losses

    def accumulate_gradients(self, parts: tuple[Part, ...]) -> dict[str, torch.Tensor]:
        """Add up the gradients of a step's batches, one at a time; returns each task's loss, unweighted.

        Running ``backward`` per batch gives, bit for bit, the gradients of the summed loss, with only one
        batch's graph in memory.
        """
        losses: dict[str, torch.Tensor] = {}
        for part in parts:
            loss = self._loss(part) * part.share
            # Trainable tensors that this forward does not use (a pooler) leave a loss without a graph.
            if loss.requires_grad:
                self.accelerator.backward(loss * self.weights[part.task])
            losses[part.task] = losses.get(part.task, 0.0) + loss.detach()
        return losses

    def _loss(self, part: Part) -> torch.Tensor:
        device, split = self.accelerator.device, self.data[part.task]
        batch = self.encoder.batch(split.inputs, part.rows, device)
        truth = torch.tensor([split.classes[row] for row in part.rows], device=device)
        return cross_entropy(self.model(task=part.task, **batch).float(), truth)

    def _report(
        self,
        epoch: int,
        pending: list[tuple[int, dict[str, torch.Tensor]]],
        rates: dict[str, float],
        sums: dict[str, list],
    ) -> None:
        """Read the pending losses off the device in one transfer, check them, and tell the observer."""
        entries = [(step, task, loss) for step, losses in pending for task, loss in losses.items()]
        values = torch.stack([loss for _, _, loss in entries]).tolist()
        shown: dict[str, list[float]] = {}
        for (step, task, _), value in zip(entries, values, strict=True):
            if value - value != 0.0:
                raise DiagnosticError([_not_finite(task, step, value)])
            shown.setdefault(task, []).append(value)
            sums[task][0] += value
            sums[task][1] += 1
        means = {task: sum(found) / len(found) for task, found in shown.items()}
        last = pending[-1][0]
        self.log.add_steps(epoch + 1, last, means, rates)
        self.observer(StepDone(epoch + 1, last, self.course.steps, means, rates))


def _not_finite(task: str, step: int, value: float) -> Diagnostic:
    return diagnostic(
        "FP503",
        f"the loss of task `{task}` is {value} at step {step}",
        help="lower the learning rates, lengthen the warm-up, or set clip_norm; prefer bfloat16 to float16",
    )
