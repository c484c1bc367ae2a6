"""One epoch of transformers' own Trainer on the model, the data and the frozen parameters of a spec."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback

from benchmarks.minilm import TASK
from benchmarks.timing import Clock
from freezeplan.inventory.from_module import inventory_of
from freezeplan.models.loading import load_model
from freezeplan.outside.quiet import quiet
from freezeplan.plan import compile_plan
from freezeplan.spec.tables import Spec
from freezeplan.train.setup import Setup


class WithLoss(torch.nn.Module):
    """Give a model of heads the form that a Trainer takes: labels in, loss and logits out."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, labels: torch.Tensor, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return loss and logits of the one task."""
        logits = self.model(task=TASK, **inputs)
        return {"loss": cross_entropy(logits.float(), labels), "logits": logits}


@dataclass
class EpochTimes(TrainerCallback):
    """Note what each epoch takes, from its beginning to its end."""

    clock: Clock
    start: float = 0.0
    seconds: float = 0.0

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        """Start."""
        self.start = self.clock.read()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        """Stop."""
        self.seconds = self.clock.read() - self.start


def rows_of(setup: Setup, order: Iterable[int]) -> list[dict[str, Any]]:
    """Return the tokenised training sentences in some order, as a Trainer takes them."""
    split = setup.data["train"][TASK]
    inputs = split.inputs
    return [
        {name: inputs.row(name, row).tolist() for name in inputs.inputs} | {"labels": int(split.targets[row])}
        for row in order
    ]


def our_order(setup: Setup) -> list[int]:
    """Return the sentences in the order in which the bundled trainer's first epoch takes them."""
    course = setup.phases[0].course
    return [row for parts in course.epoch_parts(0) for part in parts for row in part.rows]


def frozen_model(spec: Spec, labels: Sequence[str]) -> WithLoss:
    """Load a spec's model afresh; what its plan freezes gets no gradient, and that is all, as people do it."""
    task = spec.task[0].model_copy(update={"labels": list(labels)})
    spec = spec.model_copy(update={"task": [task]})
    set_seed(spec.train.seed)
    model, _ = load_model(spec)
    trained = compile_plan(inventory_of(model), spec).names(0, trainable=True)
    for name, tensor in model.named_parameters():
        tensor.requires_grad_(name in trained)
    return WithLoss(model)


def stock_trainer(setup: Setup, device: str, sampling: str, folder: str) -> Trainer:
    """Return a Trainer that trains one epoch as a spec says.

    Batch size, padding to the longest of a batch, AdamW (fused, the Trainer's default), clipping and a constant
    rate are those of the spec. It evaluates, logs and saves nothing. ``sampling`` is the Trainer's; where it is
    ``sequential``, the sentences come in the order of :func:`our_order`: the very batches of the other side.
    """
    spec = setup.spec
    order = our_order(setup) if sampling == "sequential" else range(len(setup.data["train"][TASK]))
    settings = TrainingArguments(
        folder,
        num_train_epochs=1,
        per_device_train_batch_size=spec.train.batch_size,
        learning_rate=spec.optimizer.lr,
        weight_decay=max(group.weight_decay[0] for group in setup.plan.groups),
        max_grad_norm=spec.train.clip_norm,
        lr_scheduler_type="constant",
        train_sampling_strategy=sampling,
        seed=spec.train.seed,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=device == "cpu",
    )
    trainer = Trainer(
        frozen_model(spec, setup.tasks[0].labels),
        settings,
        data_collator=DataCollatorWithPadding(setup.encoder.tokenizer),
        train_dataset=rows_of(setup, order),
        processing_class=setup.encoder.tokenizer,
    )
    trainer.pop_callback(PrinterCallback)
    return trainer


def trainer_epoch(setup: Setup, clock: Clock, sampling: str) -> float:
    """Train one epoch with a Trainer of its own; return what the epoch took, without what comes before."""
    times = EpochTimes(clock)
    with tempfile.TemporaryDirectory() as folder, quiet():
        trainer = stock_trainer(setup, clock.device, sampling, folder)
        trainer.add_callback(times)
        trainer.train()
    return times.seconds
