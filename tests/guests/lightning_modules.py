"""A small LightningModule, rows for it, and Trainers with a plan as their guest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from freezeplan.api import compile_plan
from freezeplan.guests.lightning import LightningGuest
from freezeplan.plan.records import Plan
from tests.apply.phased import freezes, phase, thaws

try:
    import lightning.pytorch as pl
except ModuleNotFoundError:
    import pytorch_lightning as pl

ROWS, BATCH = 24, 4
EPOCH = ROWS // BATCH
GRADUAL = (
    phase("head", epochs=1, steps=None),
    phase("top", thaws("body.3.**", lr_mult=0.5), steps=4),
    phase("all", thaws("body.**", lr_mult=0.25), steps=5),
    phase("head again", freezes("body.**"), epochs=1, steps=None),
)


class Module(pl.LightningModule):
    """Two layers with dropout and batch statistics, and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        norm, drop = torch.nn.BatchNorm1d(6), torch.nn.Dropout(0.2)
        self.body = torch.nn.Sequential(
            torch.nn.Linear(6, 6), norm, torch.nn.ReLU(), torch.nn.Linear(6, 6), drop
        )
        self.head = torch.nn.Linear(6, 2)
        self.guest: Any = None
        self.scores: list[float] = []
        self.seen: list[dict[str, torch.Tensor]] = []
        self.rates: list[dict[str, float]] = []
        self.alike = True

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the guest's optimizer."""
        return self.guest.configure_optimizers()

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """Return the loss of one batch; dropout is drawn by the number of the step."""
        torch.manual_seed(self.trainer.global_step * 100 + batch_idx)
        inputs, labels = batch
        return torch.nn.functional.cross_entropy(self.head(self.body(inputs)), labels)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Note what every tensor holds and every group's rate is, before a step."""
        self.seen.append(self.copies())
        self.rates.append({group["name"]: group["lr"] for group in optimizer.param_groups})

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log a score that was written beforehand, one per validation."""

    def on_validation_epoch_end(self) -> None:
        """Log it under the name that guests read."""
        if self.scores and not self.trainer.sanity_checking:
            off = 0.0 if self.alike else 0.01 * self.global_rank
            self.log("val_accuracy", self.scores.pop(0) + off)

    def copies(self) -> dict[str, torch.Tensor]:
        """Return copies of all tensors by name."""
        return {name: value.detach().clone() for name, value in self.state_dict().items()}

    def moved(self, first: int, last: int) -> set[str]:
        """Return the parameters that differ between the beginning of two steps (or now)."""
        now = self.seen[last] if last < len(self.seen) else self.copies()
        names = [name for name, _ in self.named_parameters()]
        return {name for name in names if not torch.equal(self.seen[first][name], now[name])}


def loader(rows: int = ROWS, batch: int = BATCH) -> torch.utils.data.DataLoader:
    """Return rows in order, batch by batch."""
    draw = torch.Generator().manual_seed(5)
    inputs = torch.randn(rows, 6, generator=draw)
    return torch.utils.data.DataLoader(list(zip(inputs, (inputs[:, 0] > 0).long(), strict=True)), batch)


class ResumableLoader:
    """A loader that goes on within an epoch: its state is how many batches of it were drawn."""

    def __init__(self, inner: torch.utils.data.DataLoader) -> None:
        self.inner = inner
        self.drawn = 0

    def __len__(self) -> int:
        return len(self.inner)

    def __iter__(self) -> Any:
        done, self.drawn = self.drawn % len(self), self.drawn % len(self)
        for place, batch in enumerate(self.inner):
            if place >= done:
                self.drawn = place + 1
                yield batch

    def state_dict(self) -> dict[str, int]:
        """Return what was drawn."""
        return {"drawn": self.drawn}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Take it back."""
        self.drawn = state["drawn"]


def spec(*phases: dict[str, Any], **tables: Any) -> dict[str, Any]:
    """Return a spec that trains the head and goes through phases."""
    written = [{key: value for key, value in item.items() if value is not None} for item in phases or GRADUAL]
    return {
        "optimizer": {"lr": 0.01},
        "schedule": {"name": "linear", "warmup": 2},
        "rule": [freezes("**") | {"name": "rest"}, thaws("head.**", name="head")],
        "task": [{"name": "topic", "labels": ["a", "b"]}],
        "phase": written,
        **tables,
    }


def joined(
    folder: Path, *phases: dict[str, Any], tables: Any = None, scores: Any = (), **more: Any
) -> tuple[Module, Any, Plan]:
    """Return a module with a guest for a plan of these phases, and a Trainer that both are for."""
    module = Module()
    module.scores = list(scores)
    plan = compile_plan(module, spec(*phases, **(tables or {})))
    module.guest = LightningGuest(module, plan)
    callbacks = [module.guest, *more.pop("callbacks", ())]
    options = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": -1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": str(folder),
        **more,
    }
    return module, pl.Trainer(callbacks=callbacks, **options), plan


def each_step(folder: Path) -> Any:
    """Return a callback that keeps a checkpoint after every step."""
    return pl.callbacks.ModelCheckpoint(folder, "{step}", save_top_k=-1, every_n_train_steps=1)
