"""A plan as a guest in Lightning's Trainer: phases, rates, resuming and refusals."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

if not any(map(find_spec, ("lightning", "pytorch_lightning"))):
    pytest.skip("Lightning is not installed", allow_module_level=True)

from freezeplan.api import compile_plan
from freezeplan.apply import phase_rates
from freezeplan.apply.logged_names import logged_names
from freezeplan.diagnostics import DiagnosticError
from tests.apply.phased import phase, thaws
from tests.guests.lightning_modules import EPOCH, LightningGuest, Module, each_step, joined, loader, pl, spec

ENDS = [0, EPOCH, EPOCH + 4, EPOCH + 9, 2 * EPOCH + 9]
ROOT = Path(__file__).parents[2]
UNTIL = {"metric": "topic/accuracy", "patience": 2, "max_epochs": 4}


@pytest.mark.parametrize("accumulation", [1, 2])
def test_in_each_phase_exactly_what_it_trains_moves(accumulation: int, tmp_path: Path) -> None:
    module, trainer, plan = joined(tmp_path, accumulate_grad_batches=accumulation)
    trainer.fit(module, loader(batch=4 // accumulation))
    assert trainer.global_step == ENDS[-1]
    for index, (begin, end) in enumerate(pairwise(ENDS)):
        assert module.moved(begin, end) == set(plan.names(index, trainable=True))


def test_every_step_has_the_plans_rates_times_one_factor(tmp_path: Path) -> None:
    module, trainer, plan = joined(tmp_path)
    trainer.fit(module, loader())
    for index, (begin, end) in enumerate(pairwise(ENDS)):
        full = phase_rates(plan, index)
        for rates in module.rates[begin:end]:
            factors = {round(rates[name] / full[name], 12) for name in full if full[name]}
            assert len(factors) == 1
            assert all(rates[name] == 0 for name in full if not full[name])


def test_frozen_modules_stay_in_eval_mode_and_their_statistics_still(tmp_path: Path) -> None:
    module, trainer, _ = joined(tmp_path, phase("head", epochs=2, steps=None))
    before = module.copies()
    trainer.fit(module, loader())
    assert torch.equal(module.body[1].running_mean, before["body.1.running_mean"])
    assert not torch.equal(module.head.weight, before["head.weight"])


@pytest.mark.parametrize("stop", range(1, ENDS[-1]))
def test_resumed_at_any_step_it_takes_the_same_steps(stop: int, tmp_path: Path, whole: Module) -> None:
    module, trainer, _ = joined(tmp_path)
    trainer.fit(module, loader(), ckpt_path=str(next(whole.saved.glob(f"step={stop}.ckpt"))))
    assert module.rates == whole.rates[stop:]
    if stop % EPOCH == 0:
        # Within an epoch Lightning starts a plain loader over, so other rows follow.
        assert all(torch.equal(value, whole.copies()[name]) for name, value in module.copies().items())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Module:
    """Return a module that was trained in one go, and the folder of its checkpoints."""
    folder = tmp_path_factory.mktemp("whole")
    module, trainer, _ = joined(folder, enable_checkpointing=True, callbacks=[each_step(folder)])
    trainer.fit(module, loader())
    module.saved = folder
    return module


def test_the_rates_reach_the_loggers_by_the_groups_names(tmp_path: Path) -> None:
    logger = pl.loggers.CSVLogger(tmp_path)
    module, trainer, plan = joined(tmp_path, logger=logger, log_every_n_steps=1)
    trainer.fit(module, loader())
    header = Path(logger.log_dir, "metrics.csv").read_text("utf-8").splitlines()[0].split(",")
    assert {f"lr/{name}" for name in logged_names(group.name for group in plan.groups).values()} <= set(
        header
    )


def waiting(**until: Any) -> tuple[dict[str, Any], ...]:
    """Return a phase that a metric ends, and one after it."""
    first = phase("wait", steps=None) | {"until": {**UNTIL, **until}}
    return first, phase("all", thaws("body.**"), steps=2)


@pytest.mark.parametrize(
    "until, scores, epochs",
    [
        ({"target": 0.7, "patience": None}, [0.5, 0.8, 0.9, 0.9], 2),
        ({}, [0.6, 0.5, 0.5, 0.9], 3),
        ({}, [0.1, 0.2, 0.3, 0.4], 4),
    ],
)
def test_a_metric_ends_a_phase(until: Any, scores: list[float], epochs: int, tmp_path: Path) -> None:
    until = {key: value for key, value in {**UNTIL, **until}.items() if value is not None}
    first = phase("wait", steps=None) | {"until": until}
    module, trainer, _ = joined(
        tmp_path, first, phase("all", thaws("body.**"), steps=2), scores=[*scores, 0.0]
    )
    trainer.fit(module, loader(), loader(8))
    assert trainer.global_step == epochs * EPOCH + 2
    assert module.moved(0, epochs * EPOCH) == {"head.weight", "head.bias"}


def test_validation_within_an_epoch_ends_no_phase(tmp_path: Path) -> None:
    module, trainer, _ = joined(
        tmp_path, *waiting(target=0.7), scores=[0.9, 0.1, 0.1, 0.9, 0.0], val_check_interval=0.5
    )
    trainer.fit(module, loader(), loader(8))
    assert trainer.global_step == 2 * EPOCH + 2


def test_what_was_measured_is_remembered_by_a_resumed_trainer(tmp_path: Path) -> None:
    more = {"enable_checkpointing": True}
    first, trainer, _ = joined(
        tmp_path, *waiting(patience=1), scores=[0.6, 0.5, 0.4], callbacks=[each_step(tmp_path)], **more
    )
    trainer.fit(first, loader(), loader(8))
    assert trainer.global_step == 2 * EPOCH + 2
    module, again, _ = joined(tmp_path, *waiting(patience=1), scores=[0.9, 0.9])
    again.fit(module, loader(), loader(8), ckpt_path=str(tmp_path / f"step={2 * EPOCH + 1}.ckpt"))
    assert again.global_step == 2 * EPOCH + 2


def test_stop_when_ends_the_run(tmp_path: Path) -> None:
    train = {"stop_when": {"metric": "topic/accuracy", "at_least": 0.7}}
    phases = phase("head", epochs=9, steps=None)
    module, trainer, _ = joined(tmp_path, phases, tables={"train": train}, scores=[0.5, 0.8, 0.9])
    trainer.fit(module, loader(), loader(8))
    assert trainer.global_step == 2 * EPOCH


def test_resumed_behind_the_end_it_changes_nothing(tmp_path: Path) -> None:
    first, trainer, _ = joined(tmp_path)
    trainer.fit(first, loader())
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    module, again, _ = joined(tmp_path)
    again.fit(module, loader(), ckpt_path=str(tmp_path / "end.ckpt"))
    assert again.global_step == ENDS[-1] and not module.rates
    assert all(torch.equal(value, first.copies()[name]) for name, value in module.copies().items())


def too_short(folder: Path) -> Any:
    """Return a Trainer that ends before the plan does."""
    return joined(folder, max_epochs=2)[:2]


def too_long(folder: Path) -> Any:
    """Return a Trainer that may not stop where the plan does."""
    return joined(folder, min_epochs=9)[:2]


def endless(folder: Path) -> Any:
    """Return a Trainer over data without a length."""
    return joined(folder)[:2]


def without_metric(folder: Path) -> Any:
    """Return a Trainer whose validation logs nothing."""
    return joined(folder, *waiting())[:2]


def without_optimizer(folder: Path) -> Any:
    """Return a module that makes an optimizer of its own."""
    module, trainer, _ = joined(folder)
    module.configure_optimizers = lambda: torch.optim.SGD(module.parameters(), 0.1)
    return module, trainer


def by_hand(folder: Path) -> Any:
    """Return a module that steps its optimizer itself."""
    module, trainer, _ = joined(folder)
    module.automatic_optimization = False
    return module, trainer


def thawing(folder: Path) -> Any:
    """Return a Trainer with a callback that thaws by an epoch of its own."""
    return joined(folder, callbacks=[pl.callbacks.BackboneFinetuning(unfreeze_backbone_at_epoch=1)])[:2]


def averaging(folder: Path) -> Any:
    """Return a Trainer with a callback that sets the rates."""
    return joined(folder, callbacks=[pl.callbacks.StochasticWeightAveraging(swa_lrs=0.1)])[:2]


def more_weights(folder: Path) -> Any:
    """Return a module that trains more than the plan's model."""
    module, trainer, _ = joined_inside(folder)
    module.extra = torch.nn.Linear(2, 2)
    return module, trainer


def of_another_plan(folder: Path) -> Any:
    """Return a Trainer and the checkpoint of another plan's."""
    first, trainer, _ = joined(folder, phase("head", steps=2))
    trainer.fit(first, loader())
    trainer.save_checkpoint(folder / "last.ckpt")
    return joined(folder, phase("head", steps=3))[:2]


REFUSED: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "too short": (too_short, "FP441", "12 steps; the plan's phases have 21"),
    "too long": (too_long, "FP441", "`min_epochs`"),
    "endless": (endless, "FP443", "have no length"),
    "by hand": (by_hand, "FP443", "steps its optimizer itself"),
    "thawing": (thawing, "FP443", "`BackboneFinetuning` freezes and thaws"),
    "averaging": (averaging, "FP443", "`StochasticWeightAveraging` sets the rates"),
    "no metric": (without_metric, "FP444", "`topic/accuracy`"),
    "another plan's": (of_another_plan, "FP445", "another plan"),
    "no optimizer": (without_optimizer, "FP446", "another optimizer"),
    "more weights": (more_weights, "FP448", "`extra.weight`"),
}


class Endless(torch.utils.data.IterableDataset):
    """Rows without a number."""

    def __iter__(self) -> Any:
        while True:
            yield from loader().dataset


@pytest.mark.parametrize("kind", REFUSED)
def test_what_it_cannot_do_is_refused(kind: str, tmp_path: Path) -> None:
    make, code, words = REFUSED[kind]
    module, trainer = make(tmp_path)
    rows = torch.utils.data.DataLoader(Endless(), 4) if kind == "endless" else loader()
    saved = str(tmp_path / "last.ckpt") if kind == "another plan's" else None
    with pytest.raises(DiagnosticError) as caught:
        trainer.fit(module, rows, loader(8), ckpt_path=saved)
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert words in " ".join((found.message, found.help or "", *found.notes))


REPORTED = {"metric": "val_accuracy", "mode": "max", "patience": 1, "max_epochs": 3, "restore_best": True}
SCORES = [0.6, 0.5, 0.1, 0.1]
ENDED = 2 * EPOCH


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory) -> Module:
    """Return a module whose first phase ended with its best epoch, and the folder of its checkpoints."""
    folder = tmp_path_factory.mktemp("best")
    more = {"enable_checkpointing": True, "callbacks": [each_step(folder)]}
    module, trainer, _ = joined(folder, *waiting(**REPORTED), scores=SCORES, **more)
    trainer.fit(module, loader(), loader(8))
    assert trainer.global_step == ENDED + 2
    module.saved = folder
    return module


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether tensors by name are equal to the bit."""
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_best_epoch_of_a_phase_comes_back(best: Module) -> None:
    assert best.moved(EPOCH, ENDED) == set()
    assert best.moved(ENDED - 1, ENDED) == {"head.weight", "head.bias"}


@pytest.mark.parametrize("stop", [EPOCH, ENDED])
def test_resumed_around_a_boundary_the_best_epoch_is_the_same(stop: int, best: Module) -> None:
    module, trainer, _ = joined(best.saved, *waiting(**REPORTED), scores=SCORES[stop // EPOCH - 1 :])
    trainer.fit(module, loader(), loader(8), ckpt_path=str(best.saved / f"step={stop}.ckpt"))
    assert same(module.copies(), best.copies())


def joined_inside(folder: Path) -> tuple[Module, Any, Any]:
    """Return a module and a Trainer with a plan for what is inside the module."""
    module, trainer, _ = joined(folder)
    inner = torch.nn.ModuleDict({"body": module.body, "head": module.head})
    plan = compile_plan(inner, spec())
    trainer.callbacks.remove(module.guest)
    module.guest = LightningGuest(inner, plan)
    trainer.callbacks.append(module.guest)
    return module, trainer, plan


def test_a_plan_for_what_is_inside_a_module(tmp_path: Path) -> None:
    module, trainer, plan = joined_inside(tmp_path)
    trainer.fit(module, loader())
    assert trainer.global_step == ENDS[-1]
    assert module.moved(0, EPOCH) == set(plan.names(0, trainable=True))


@pytest.mark.slow
def test_on_two_processes_each_phase_moves_what_it_trains_alike(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.guests.lightning_ranks", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in tmp_path.glob("*.json")}
    assert found["whole.0"] == found["whole.1"]
    assert found["whole.0"]["moved"] == found["whole.0"]["planned"]
    assert found["resumed 3.0"]["hashes"] == found["resumed 3.1"]["hashes"] == found["whole.0"]["hashes"]
    for rank in (0, 1):
        assert re.search("FP442.*expects them all", found[f"deaf.{rank}"]["refused"])
        assert re.search("FP444.*sync_dist", found[f"apart.{rank}"]["refused"])
