"""The same spec, the same rows in the same order: the bundled trainer, and a stock Trainer with the plan as guest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import Trainer, TrainingArguments

from freezeplan.apply import fused_option
from freezeplan.guests.transformers import trainer_guest
from freezeplan.models.run_weights import weights_of_run
from freezeplan.runs.events import ignore_events
from freezeplan.runs.run_folder import RunFolder
from freezeplan.spec.tables import Spec
from freezeplan.train.batches import order
from freezeplan.train.phases import _loop
from freezeplan.train.run import train
from freezeplan.train.running import Running
from freezeplan.train.setup import Setup, prepare
from tests.train.tiny import save_tiny_bert, toy_data, toy_spec, write_toy_data

BATCH, ROWS = 16, 96
UNCLIPPED = 1e9
PHASES = [
    {"name": "head", "epochs": 1},
    {
        "name": "top",
        "steps": 4,
        "rule": [{"match": "@layers[-1:]", "state": "trainable", "lr_mult": 0.1}],
    },
    {
        "name": "all",
        "steps": 5,
        "on_thaw": "keep",
        "rule": [{"match": "@layers", "state": "trainable"}, {"match": "heads", "state": "frozen"}],
    },
    {
        "name": "head again",
        "epochs": 1,
        "rule": [{"match": "@layers", "state": "frozen"}, {"match": "heads", "state": "trainable"}],
    },
]


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny BERT without dropout, whose steps do not depend on random numbers, and data."""
    folder = tmp_path_factory.mktemp("still")
    config = save_tiny_bert(folder / "bert") / "config.json"
    values = json.loads(config.read_text("utf-8"))
    config.write_text(
        json.dumps(values | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}), "utf-8"
    )
    write_toy_data(folder, train=ROWS)
    return folder


def single_task(folder: Path, clip_norm: float = UNCLIPPED, **tables: Any) -> Spec:
    """Return a spec with one task and four phases, which takes the rows in the order of a pass, and all of them."""
    task = {"name": "topic", "data": toy_data(folder, "topic"), "dropout": 0.0}
    return toy_spec(
        folder,
        task=[task],
        rule=[
            {"match": "backbone", "state": "frozen"},
            {"match": "heads", "state": "trainable"},
        ],
        phase=PHASES,
        schedule={"name": "cosine", "warmup": 3},
        train={"batch_size": BATCH, "clip_norm": clip_norm, "length_buckets": False, "store": "off"},
        **tables,
    )


class InOrder(torch.utils.data.Dataset):
    """The rows of a task, in each epoch in the order that the bundled trainer takes them."""

    def __init__(self, seed: int) -> None:
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Go on to an epoch: Trainer's data loader calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, place: int) -> int:
        return order(self.seed, "topic", self.epoch, ROWS)[place]


def by_a_stock_trainer(setup: Setup, folder: Path) -> dict[str, torch.Tensor]:
    """Train a prepared model in a stock Trainer with its plan as guest; return all its tensors."""
    spec, split = setup.spec, setup.data["train"]["topic"]

    def batch(rows: list[int]) -> dict[str, torch.Tensor]:
        found = setup.encoder.batch(split.inputs, tuple(rows), torch.device("cpu"))
        return {**found, "labels": split.target(tuple(rows), torch.device("cpu"))}

    def loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        return cross_entropy(outputs["topic"].float(), labels)

    setup.model.accepts_loss_kwargs = False
    guest = trainer_guest(setup.model, setup.plan, **fused_option(setup.model, setup.plan))
    settings = TrainingArguments(
        str(folder),
        max_steps=guest.max_steps(ROWS // BATCH),
        per_device_train_batch_size=BATCH,
        max_grad_norm=spec.train.clip_norm,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    Trainer(
        setup.model,
        settings,
        data_collator=batch,
        train_dataset=InOrder(spec.train.seed),
        compute_loss_func=loss,
        optimizers=guest.optimizers,
        callbacks=[guest.callback],
    ).train()
    return dict(setup.model.named_parameters())


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "adagrad"])
@pytest.mark.parametrize("clip_norm", [UNCLIPPED, 0.5])
def test_a_stock_trainer_ends_with_the_same_bits(
    optimizer: str, clip_norm: float, still: Path, tmp_path: Path
) -> None:
    more = {"momentum": 0.9} if optimizer == "sgd" else {}
    spec = single_task(still, clip_norm, optimizer={"name": optimizer, "lr": 0.05, **more})
    train(spec, tmp_path / "ours")
    ours = weights_of_run(tmp_path / "ours")
    theirs = by_a_stock_trainer(prepare(spec), tmp_path / "theirs")
    assert {name for name, value in theirs.items() if not torch.equal(value, ours[name])} == set()


def test_clipping_sums_the_norm_in_the_order_of_the_model(still: Path) -> None:
    """However the groups divide them: rounding depends on the order of a sum."""
    setup = prepare(single_task(still))
    run = Running(setup, RunFolder(still / "never"), ignore_events)
    run.ledger.begin_phase(0)
    loop = _loop(run)
    order = {id(tensor): place for place, tensor in enumerate(setup.model.parameters())}
    places = [order[id(tensor)] for tensor in loop.ever_trained]
    grouped = [order[id(tensor)] for group in loop.optimizer.param_groups for tensor in group["params"]]
    assert places == sorted(grouped) != grouped
