"""transformers' Trainer on the very batches of a spec's first epoch, with a stock model of one's own."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback

from freezeplan.train.forward import EncodedSplit
from freezeplan.train.setup import Setup
from freezeplan.train.tokens import IDS, LEARNED


def rows_in_our_order(setup: Setup) -> list[dict[str, Any]]:
    """Return the rows of the first epoch of the one task, in the order of its batches, as a Trainer takes them."""
    (split,) = setup.data["train"].values()
    rows = [row for parts in setup.phases[0].course.epoch_parts(0) for part in parts for row in part.rows]
    return [
        {name: split.inputs.row(name, row).tolist() for name in setup.encoder.names}
        | {"labels": _labels(split, row)}
        for row in rows
    ]


def _labels(split: EncodedSplit, row: int) -> Any:
    if not split.kind.own_head:
        return split.target([row], torch.device("cpu"))[0].tolist()
    ids, learned = (split.inputs.row(name, row).tolist() for name in (IDS, LEARNED))
    return [number if mark else -100 for number, mark in zip(ids, learned, strict=True)]


def trainer_on(
    setup: Setup, model: Any, folder: str, *, epochs: int = 1, device: str = "cpu", shuffled: bool = False
) -> Trainer:
    """Return a Trainer that takes the batches of the spec's first epoch, ``epochs`` times over.

    ``shuffled`` lets it draw its batches as it does by default: at random, padded to their longest row.
    Batch size, AdamW, rate, weight decay, schedule and clipping are those of the spec. It saves and evaluates nothing.
    """
    spec = setup.spec
    settings = TrainingArguments(
        folder,
        num_train_epochs=epochs,
        per_device_train_batch_size=spec.train.batch_size,
        learning_rate=spec.optimizer.lr,
        weight_decay=max(group.weight_decay[0] for group in setup.plan.groups),
        max_grad_norm=spec.train.clip_norm or 0.0,
        lr_scheduler_type=spec.schedule.name,
        train_sampling_strategy="random" if shuffled else "sequential",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=device == "cpu",
    )
    kind = next(iter(setup.data["train"].values())).kind
    collator = (
        DataCollatorForTokenClassification if kind.reads_words or kind.own_head else DataCollatorWithPadding
    )
    trainer = Trainer(
        model,
        settings,
        data_collator=collator(setup.encoder.tokenizer),
        train_dataset=rows_in_our_order(setup),
        processing_class=setup.encoder.tokenizer,
    )
    trainer.pop_callback(PrinterCallback)
    return trainer
