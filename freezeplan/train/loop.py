"""The training loop: the steps of one phase, an epoch at a time, exactly as the plan's groups and rates say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

import torch

from freezeplan.apply import set_rates
from freezeplan.apply.sharding import reshard_parameters
from freezeplan.apply.tensors import parameters_by_name
from freezeplan.diagnostics import DiagnosticError
from freezeplan.plan.modes import BACKBONE
from freezeplan.plan.records import Plan
from freezeplan.runs.events import Observer, StepDone
from freezeplan.runs.gradients import GradientWatch
from freezeplan.runs.interrupts import StopRequest
from freezeplan.runs.metrics_log import MetricsLog
from freezeplan.runs.position import Position
from freezeplan.spec.locations import error_at_key
from freezeplan.train.balancing import combined, weights_of
from freezeplan.train.batches import Course, Part
from freezeplan.train.forward import EncodedSplit, Forward
from freezeplan.train.gradient_norms import GradientNorms
from freezeplan.train.plasticity import OutputLooks
from freezeplan.train.ranks import Ranks
from freezeplan.train.resolution import LostUpdates
from freezeplan.train.scaling import LossScale
from freezeplan.train.scheduling import ScheduledPhase
from freezeplan.train.strategies.strategy import SharingStrategy
from freezeplan.train.streaming import Streams

STEPS_PER_REPORT_ON_DEVICE = 20


@dataclass(frozen=True)
class StepLosses:
    """Hold the losses of one step until they are read off the device, and how many terms each is the mean of."""

    step: int
    losses: dict[str, torch.Tensor]
    terms: dict[str, int]


@dataclass
class Loop:
    """Hold what one phase's steps need; :meth:`run_epoch` is the only thing it does.

    ``weights`` are the factors of the tasks' losses; ``balancing`` names how their gradients are weighed, if they are.
    ``course`` is the phase's, with the batches before it.
    The loop decides no learning rate: before each step it sets the groups' rates to what ``scheduled`` says.
    ``position`` is moved on with each step; ``after_step`` is called when a step is counted and
    ``checkpoint_steps`` divides its number, losses reported; or before an epoch is ``stopped`` since ``stop``
    asks for it, on any rank. ``steps`` counts those of the whole run. ``norms`` sees the gradients of each step,
    ``looks`` what the layers put out after it.
    ``streams`` put into ``data`` the rows of a step that are not there.
    """

    plan: Plan
    forward: Forward
    optimizer: torch.optim.Optimizer
    strategy: SharingStrategy
    data: dict[str, EncodedSplit]
    weights: Mapping[str, float]
    scheduled: ScheduledPhase
    course: Course
    clip_norm: float | None
    steps: int
    watch: GradientWatch
    log: MetricsLog
    observer: Observer
    position: Position = field(default_factory=Position)
    checkpoint_steps: int | None = None
    after_step: Callable[[], None] = lambda: None
    norms: GradientNorms | None = None
    looks: OutputLooks | None = None
    stop: StopRequest = field(default_factory=StopRequest)
    stopped: bool = False
    balancing: str | None = None
    scale: LossScale = field(default_factory=lambda: LossScale("float32", torch.device("cpu")))
    streams: Streams = field(default_factory=Streams)
    lost: LostUpdates = field(default_factory=lambda: LostUpdates((), lambda lost, asked: None))
    _asked: bool = False
    _skipped: int = 0

    @property
    def model(self) -> torch.nn.Module:
        """The model that is trained."""
        return self.forward.model

    @property
    def ranks(self) -> Ranks:
        """The processes that share each batch."""
        return self.strategy.ranks

    @cached_property
    def ever_trained(self) -> list[torch.nn.Parameter]:
        """The tensors that any phase trains, in the model's order, however the groups divide them."""
        tensors = parameters_by_name(self.model)
        return [tensors[name] for name in self.plan.ever_trained]

    def run_epoch(self) -> dict[str, float]:
        """Train to the end of the current epoch, or of the phase; returns each task's mean loss.

        That is the mean over all terms of the steps so far. Reports losses and every group's rate at each step on a
        CPU, every 20 steps elsewhere (reading a loss off an accelerator makes it wait). Where ``stop`` asks for it, the
        epoch ends at the next report. Raises ``DiagnosticError`` (FP503) at a loss that is not finite.
        """
        self.model.train()
        reshard_parameters(self.model)
        pending: list[StepLosses] = []
        position, end = self.position, self.scheduled.epoch_end(self.position.phase_step)
        while position.phase_step < end:
            rates = self.set_rates(position.phase_step)
            parts = self.streams.read(self.course.parts(position.phase_step), self.data, self.ranks)
            losses = self._step(parts)
            position.phase_step += 1
            position.step += 1
            self._look(position.phase_step)
            pending.append(StepLosses(position.step, losses, self.terms(parts)))
            self.watch.see_rates(rates)
            inside = position.phase_step < end
            due = inside and self._is_checkpoint(position.step)
            if due or len(pending) >= self._report_every or not inside:
                self._report(pending, rates)
                pending = []
            self.stopped = inside and self._asked
            if due or self.stopped:
                self.after_step()
            if self.stopped:
                break
        return {task: total / count for task, (total, count) in position.sums.items() if count}

    def _look(self, step: int) -> None:
        if self.looks is not None:
            per_epoch = self.course.steps_per_epoch
            self.looks.after((step - 1) % per_epoch + 1, per_epoch)

    def set_rates(self, step: int) -> dict[str, float]:
        """Set every group's rate for a step of the phase; returns the rates of those that train in it."""
        set_rates(self.optimizer, self.plan, self.scheduled.index, self.scheduled.factor_at(step))
        groups = {group["name"]: float(group["lr"]) for group in self.optimizer.param_groups}
        return {name: rate for name, rate in groups.items() if name in self.scheduled.groups}

    @cached_property
    def shared(self) -> list[torch.nn.Parameter]:
        """The tensors of the backbone that train in this phase."""
        tensors = parameters_by_name(self.model)
        trained = self.plan.names(self.scheduled.index, trainable=True)
        return [tensors[name] for name in trained if name.startswith(BACKBONE)]

    @property
    def _report_every(self) -> int:
        return 1 if self.forward.device.type == "cpu" else STEPS_PER_REPORT_ON_DEVICE

    def _is_checkpoint(self, step: int) -> bool:
        return self.checkpoint_steps is not None and step % self.checkpoint_steps == 0

    def _step(self, parts: tuple[Part, ...]) -> dict[str, torch.Tensor]:
        self.optimizer.zero_grad(set_to_none=True)
        if self.balancing is not None:
            losses = self.balance_gradients(parts, self.balancing)
        else:
            losses = self.accumulate_gradients(parts)
            self.strategy.sum_gradients(self.ever_trained)
        if self.scale.unscaled(self.optimizer, self.ever_trained):
            self.watch.see_gradients(self.model, losses)
            if self.norms is not None:
                per_epoch = self.course.steps_per_epoch
                self.norms.see(self.position.phase_step % per_epoch, per_epoch)
        else:
            self._skipped += 1
        if self.clip_norm is not None:
            self.strategy.clip(self.ever_trained, self.clip_norm)
        with self.lost.watching(self.optimizer):
            self.scale.step(self.optimizer)
        self.ranks.set_buffers_of_first(self.model)
        return losses

    def accumulate_gradients(self, parts: tuple[Part, ...]) -> dict[str, torch.Tensor]:
        """Add up the gradients of a step's batches, one at a time; returns each task's loss, unweighted.

        A task's loss in a step is the sum over the terms of all its batches, divided by their number, which is known
        before anything runs: it is the same however the rows are spread over batches and processes. A step without a
        term has the loss 0. Running ``backward`` per batch gives, bit for bit, the gradients of the summed loss, with
        only one batch's graph in memory. Each rank runs its own rows: gradients and losses are parts of a sum over
        ranks. Where batches hold rows of similar length, the gradient weighs as :meth:`share` says.
        """
        losses: dict[str, torch.Tensor] = {}
        terms = self.terms(parts)
        for part in parts:
            loss = self._own_loss(part, terms[part.task])
            # Trainable tensors that this forward does not use (a pooler) leave a loss without a graph.
            if loss.requires_grad:
                weight = self.weights[part.task] * self.share(part.task, terms[part.task])
                self.scale.backward(loss * weight)
            losses[part.task] = losses.get(part.task, 0.0) + loss.detach()
        return losses

    def balance_gradients(self, parts: tuple[Part, ...], balancing: str) -> dict[str, torch.Tensor]:
        """Set the gradients of a joint step, those of what tasks share weighed; returns each task's loss, unweighted.

        The gradients of one task at a time are added up over its batches and over all ranks and taken aside, so that
        neither accumulation nor the number of ranks changes them; the first rank finds the weights for all.
        """
        losses: dict[str, torch.Tensor] = {}
        rows: list[list[torch.Tensor | None]] = []
        for _, own in groupby(parts, key=lambda part: part.task):
            losses |= self.accumulate_gradients(tuple(own))
            self.strategy.sum_gradients(self.shared)
            rows.append([tensor.grad for tensor in self.shared])
            for tensor in self.shared:
                tensor.grad = None
        shared = {id(tensor) for tensor in self.shared}
        self.strategy.sum_gradients([item for item in self.ever_trained if id(item) not in shared])
        weights = self.ranks.gather(weights_of(balancing, rows))[0]
        for tensor, gradient in zip(self.shared, combined(rows, weights), strict=True):
            tensor.grad = gradient
        return losses

    def terms(self, parts: tuple[Part, ...]) -> dict[str, int]:
        """Return how many terms the loss of each task is the mean of in a step, over all ranks."""
        found: dict[str, int] = {}
        for part in parts:
            split = self.data[part.task]
            found[part.task] = found.get(part.task, 0) + split.kind.terms(split.targets, part.rows)
        return found

    def share(self, task: str, terms: int) -> float:
        """Return how much a step weighs: its terms over those of a usual step. All terms of a pass then weigh alike.

        A mean over a step's terms would let words of short rows, which come together, weigh more than those of long
        ones. It is 1 where rows have one term each, or come at random.
        """
        return terms / self._usual_terms[task] if task in self._usual_terms else 1.0

    @cached_property
    def _usual_terms(self) -> dict[str, float]:
        """How many terms a step has on average, of tasks whose terms grow with the rows and whose batches are alike."""
        found = {}
        for task in self.course.sizes.keys() & self.course.lengths.keys():
            split = self.data[task]
            if split.kind.terms_vary:
                rows = min(self.course.batch_size(task) * self.course.train.accumulation, len(split))
                found[task] = split.kind.terms(split.targets, range(len(split))) * rows / len(split)
        return {task: terms for task, terms in found.items() if terms}

    def _own_loss(self, part: Part, terms: int) -> torch.Tensor:
        """Return the loss of this rank's rows of a batch, a part of the sum over ranks."""
        own = self.ranks.own(part)
        if not terms or not (own.rows or self.ranks.together):
            return torch.zeros((), device=self.forward.device)
        if own.rows:
            return self._sum(own) / terms
        # The others cannot run the model without this one: it runs a row of theirs, which counts for nothing.
        return self._sum(Part(part.task, part.rows[:1])) * 0.0

    def _sum(self, part: Part) -> torch.Tensor:
        split = self.data[part.task]
        out = self.forward.outputs(part.task, split, part.rows)
        target = split.target(part.rows, self.forward.device)
        if split.kind.own_head:
            return self.strategy.computed(self.model, lambda: split.kind.loss(out, target))
        return split.kind.loss(out, target)

    def _report(self, pending: list[StepLosses], rates: dict[str, float]) -> None:
        """Read the pending losses off the device in one transfer, check them, and tell the observer."""
        entries = [(item, task, loss) for item in pending for task, loss in item.losses.items()]
        losses = torch.stack([loss for _, _, loss in entries])
        asked = losses.new_full((1,), float(self.stop.asked))
        *values, stopping = self.ranks.summed(torch.cat([losses, asked])).tolist()
        self._asked = stopping > 0.0
        shown: dict[str, list[float]] = {}
        for (item, task, _), value in zip(entries, values, strict=True):
            if value - value != 0.0:
                raise self._not_finite(task, item.step, value)
            for sums in (shown, self.position.sums):
                total, count = sums.get(task, (0.0, 0))
                sums[task] = [total + value * item.terms[task], count + item.terms[task]]
        means = {task: total / count if count else 0.0 for task, (total, count) in shown.items()}
        last, epoch = pending[-1].step, self.position.epoch + 1
        self.log.add_steps(epoch, last, means, rates, self._skipped)
        self.position.skipped, self._skipped = self.position.skipped + self._skipped, 0
        self.position.scale = self.scale.as_record()
        self.observer(StepDone(epoch, last, self.steps, means, rates))

    def _not_finite(self, task: str, step: int, value: float) -> DiagnosticError:
        message = f"the loss of task `{task}` is {value} at step {step}"
        advice = (
            "lower the learning rates, lengthen the warm-up, or set clip_norm; prefer bfloat16 to float16"
        )
        at = ("task", list(self.weights).index(task), "name")
        return error_at_key(at, "FP503", message, help=advice)
