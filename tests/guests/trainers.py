"""A tiny BERT, rows for it, and stock Trainers with a plan as their guest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from freezeplan.api import compile_plan
from freezeplan.guests.transformers import TrainerGuest, trainer_guest
from freezeplan.plan.records import Plan
from tests.apply.phased import freezes, phase, thaws

ROWS = 24
BATCH = 4
EPOCH = ROWS // BATCH


def tiny_classifier() -> BertForSequenceClassification:
    """Return a random BERT of two layers, with dropout, and a head of two classes."""
    torch.manual_seed(11)
    config = BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        num_labels=2,
    )
    return BertForSequenceClassification(config)


def rows(count: int = ROWS) -> list[dict[str, Any]]:
    """Return rows of random tokens; the class is whether the first is large."""
    draw = torch.Generator().manual_seed(5)
    tokens = torch.randint(1, 40, (count, 6), generator=draw)
    return [
        {"input_ids": row.tolist(), "attention_mask": [1] * 6, "labels": int(row[0] > 20)} for row in tokens
    ]


# The pooler is part of what this model's head reads; it trains with the head.
HEAD = ["classifier", "@pooler"]
GRADUAL = (
    phase("head", epochs=1, steps=None),
    phase("top", thaws("@layers[-1:]", lr_mult=0.5), steps=4),
    phase("all", thaws(["@layers", "@embeddings"], lr_mult=0.25), steps=5),
    phase("head again", freezes("@backbone"), thaws("@pooler"), epochs=1, steps=None),
)


def bert_spec(*phases: dict[str, Any], **tables: Any) -> dict[str, Any]:
    """Return a spec that trains the head of a BERT and goes through phases (``steps=None`` leaves the key out)."""
    written = [{key: value for key, value in item.items() if value is not None} for item in phases or GRADUAL]
    return {
        "optimizer": {"lr": 0.01},
        "schedule": {"name": "linear", "warmup": 2},
        "rule": [freezes("**") | {"name": "rest"}, thaws(HEAD, name="head")],
        "task": [{"name": "topic", "labels": ["a", "b"]}],
        "phase": written,
        **tables,
    }


def bert_plan(model: torch.nn.Module, /, *phases: dict[str, Any], **tables: Any) -> Plan:
    """Compile :func:`bert_spec` for a model."""
    return compile_plan(model, bert_spec(*phases, **tables))


def settings(folder: Path, max_steps: int, **more: Any) -> TrainingArguments:
    """Return quiet settings on the CPU, rows in order."""
    return TrainingArguments(
        str(folder),
        **{
            "max_steps": max_steps,
            "per_device_train_batch_size": BATCH,
            "learning_rate": 123.0,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "use_cpu": True,
            "disable_tqdm": True,
            "train_sampling_strategy": "sequential",
            **more,
        },
    )


def stock_trainer(
    guest: TrainerGuest,
    model: torch.nn.Module,
    folder: Path,
    *,
    callbacks: tuple[TrainerCallback, ...] = (),
    **more: Any,
) -> Trainer:
    """Return a stock Trainer with the guest; keywords that Trainer knows go to it, others to its settings."""
    own = {key: more.pop(key) for key in ("train_dataset", "eval_dataset", "compute_metrics") if key in more}
    steps = more.pop("max_steps", None)
    return Trainer(
        model,
        settings(folder, guest.max_steps(EPOCH) if steps is None else steps, **more),
        optimizers=guest.optimizers,
        callbacks=[*callbacks, guest.callback],
        **{"train_dataset": rows(), **own},
    )


def joined(
    model: torch.nn.Module, folder: Path, *phases: dict[str, Any], tables: Any = None, **more: Any
) -> Any:
    """Return a guest for a plan of these phases, and a Trainer that it is in."""
    guest = trainer_guest(model, bert_plan(model, *phases, **(tables or {})))
    return guest, stock_trainer(guest, model, folder, **more)


class Endless(torch.utils.data.IterableDataset):
    """Rows without a number."""

    def __iter__(self) -> Any:
        while True:
            yield from rows()


UNTIL = {"metric": "topic/accuracy", "patience": 2, "max_epochs": 4}


def scores(*values: float) -> Any:
    """Return a function that gives these accuracies, one per evaluation."""
    left = list(values)
    return lambda _: {"accuracy": left.pop(0)}


class Watcher(TrainerCallback):
    """Keep copies of all tensors at the beginning of each step and at the end, and what is in eval mode."""

    def __init__(self) -> None:
        self.before: list[dict[str, torch.Tensor]] = []
        self.modes: list[set[str]] = []
        self.rates: list[list[float]] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **more: Any) -> None:
        """Copy the tensors."""
        self.before.append(copies(model))

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Note modes and rates as they are between backward and the step."""
        modules = more["model"].named_modules()
        self.modes.append({path for path, module in modules if not module.training})
        self.rates.append([group["lr"] for group in more["optimizer"].param_groups])

    def moved(self, model: torch.nn.Module, first: int, last: int) -> set[str]:
        """Return what differs between the beginning of a step and the beginning of another (or now)."""
        now = self.before[last] if last < len(self.before) else copies(model)
        return {name for name, value in self.before[first].items() if not torch.equal(value, now[name])}


def copies(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return copies of a model's tensors by name."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


os.environ.setdefault("HF_HUB_OFFLINE", "1")
