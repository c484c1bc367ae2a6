"""What transformers' Trainer takes for the candidates of a comparison: the same freezes, epochs and batches."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback

from benchmarks.cut_sets import TASK
from benchmarks.timing import Clock
from freezeplan.models.loading import load_model
from freezeplan.outside.quiet import quiet
from freezeplan.plan.records import Plan
from freezeplan.spec.reading import load_spec
from freezeplan.train.encoded_rows import with_labels
from freezeplan.train.forward import EncodedSplit
from freezeplan.train.setup import Setup, prepare


class _WithLoss(torch.nn.Module):
    """Give a model of heads the form that a Trainer takes: labels in, loss and logits out."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, labels: torch.Tensor, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.model(task=TASK, **inputs).float()
        return {"loss": cross_entropy(logits.flatten(0, -2), labels.flatten()), "logits": logits}


@dataclass
class _StepTimes(TrainerCallback):
    """Note when each step ends; what comes before the first, the start of a Trainer, is not counted."""

    clock: Clock
    ends: list[float] = field(default_factory=list)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(self.clock.read())


@dataclass
class TrainerSeconds:
    """Measure some steps of a Trainer per set of frozen tensors, each set once; ``steps`` each time, but the first."""

    spec: Path
    clock: Clock
    steps: int

    def __post_init__(self) -> None:
        self.setup: Setup = prepare(load_spec(self.spec))
        self.known: dict[frozenset[str], float] = {}

    @property
    def rows(self) -> int:
        """The training rows."""
        return len(self.setup.data["train"][TASK])

    def of_run(self, plan: Plan) -> float:
        """Return what a whole run over a plan takes, from a few steps of each of its phases."""
        per_epoch = -(-self.rows // self.setup.spec.train.batch_size)
        return sum(
            phase.length.count * per_epoch * self._step(frozenset(plan.names(index, trainable=True)))
            for index, phase in enumerate(plan.phases)
        )

    def evaluation(self) -> float:
        """Return what one evaluation over the validation rows takes."""
        trainer = self._trainer(frozenset(), 1)
        split = self.setup.data["validation"][TASK]
        trainer.data_collator = _Batches(self.setup, split)
        return self.clock.seconds(lambda: trainer.evaluate(_rows(split)))

    def _step(self, trained: frozenset[str]) -> float:
        if trained not in self.known:
            times = _StepTimes(self.clock)
            with quiet():
                trainer = self._trainer(trained, self.steps)
                trainer.add_callback(times)
                trainer.train()
            self.known[trained] = (times.ends[-1] - times.ends[0]) / (len(times.ends) - 1)
        return self.known[trained]

    def _trainer(self, trained: frozenset[str], steps: int) -> Trainer:
        spec, split = self.setup.spec, self.setup.data["train"][TASK]
        set_seed(spec.train.seed)
        model, _ = load_model(with_labels(spec, self.setup.tasks))
        for name, tensor in model.named_parameters():
            tensor.requires_grad_(name in trained)
        settings = TrainingArguments(
            tempfile.mkdtemp(prefix="trainer-"),
            max_steps=steps,
            per_device_train_batch_size=spec.train.batch_size,
            per_device_eval_batch_size=spec.train.batch_size,
            learning_rate=spec.optimizer.lr,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            use_cpu=self.clock.device == "cpu",
        )
        trainer = Trainer(
            _WithLoss(model), settings, data_collator=_Batches(self.setup, split), train_dataset=_rows(split)
        )
        trainer.pop_callback(PrinterCallback)
        return trainer


def _rows(split: EncodedSplit) -> list[dict[str, Any]]:
    return [{"row": row} for row in range(len(split))]


@dataclass
class _Batches:
    """Make a batch of rows, padded to the longest of it; the texts are tokenised before the clock starts."""

    setup: Setup
    split: EncodedSplit

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        rows, device = [item["row"] for item in items], torch.device("cpu")
        batch = self.setup.encoder.batch(self.split.inputs, rows, device)
        return {**batch, "labels": self.split.target(rows, device)}
