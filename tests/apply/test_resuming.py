"""Going on from a checkpoint in a loop of one's own ends at the same bits as never stopping."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch.distributed.checkpoint as dcp
from accelerate import Accelerator
from torch.distributed.checkpoint import state_dict as dcp_state
from torch.distributed.checkpoint.api import CheckpointException
from torch.optim import lr_scheduler

import freezeplan
from freezeplan.apply import build_optimizer
from freezeplan.diagnostics import DiagnosticError
from tests.apply.phased import Trunk, freezes, moved, phase, plan_of, take_step, tensors, thaws
from tests.apply.wrapping import one_process

PHASES = (
    phase("top", thaws("top")),
    phase("pause", freezes("top"), thaws("low")),
    phase("kept", thaws("top"), on_thaw="keep"),
    phase("afresh", freezes("low")),
    phase("all", thaws("low"), on_thaw="reset"),
)
STEPS = [index for index in range(len(PHASES)) for _ in range(3)]


class Loop:
    """A model, its optimizer and one scheduler over the whole run."""

    def __init__(self) -> None:
        self.model = Trunk()
        self.plan = plan_of(self.model, *PHASES)
        self.optimizer = build_optimizer(self.model, self.plan)
        freezeplan.enter_phase(self.model, self.optimizer, self.plan, 0)
        self.scheduler = lr_scheduler.CosineAnnealingLR(self.optimizer, 2 * len(STEPS))

    def run(self, first: int, last: int) -> None:
        """Take the steps from one to before another, and enter the phase of what comes then."""
        for step in range(first, last):
            if step != first and STEPS[step] != STEPS[step - 1]:
                freezeplan.enter_phase(self.model, self.optimizer, self.plan, STEPS[step], factor="keep")
            take_step(self.model, self.optimizer, step)
            self.scheduler.step()


def whole() -> Loop:
    loop = Loop()
    loop.run(0, len(STEPS))
    return loop


Saved = Callable[[], object]


def plainly(one: Loop, other: Loop, folder: Path) -> Saved:
    saved = copy.deepcopy([one.model.state_dict(), one.optimizer.state_dict()])

    def load() -> None:
        other.model.load_state_dict(saved[0])
        other.optimizer.load_state_dict(saved[1])

    return load


def by_accelerate(one: Loop, other: Loop, folder: Path) -> Saved:
    first = Accelerator(cpu=True)
    first.prepare(one.model, one.optimizer)
    first.save_state(str(folder / "state"))
    second = Accelerator(cpu=True)
    second.prepare(other.model, other.optimizer)
    return lambda: second.load_state(str(folder / "state"))


def distributed(one: Loop, other: Loop, folder: Path) -> Saved:
    found = dcp_state.get_state_dict(one.model, one.optimizer)
    dcp.save(dict(zip(("model", "optimizer"), found, strict=True)), checkpoint_id=str(folder / "dcp"))

    def load() -> None:
        state = dict(
            zip(("model", "optimizer"), dcp_state.get_state_dict(other.model, other.optimizer), strict=True)
        )
        dcp.load(state, checkpoint_id=str(folder / "dcp"))
        dcp_state.set_state_dict(
            other.model,
            other.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
        )

    return load


@pytest.fixture(autouse=True)
def group(tmp_path: Path) -> Iterator[None]:
    with one_process(tmp_path):
        yield


KINDS = {"plain": plainly, "accelerate": by_accelerate, "distributed": distributed}


@pytest.mark.parametrize("stop", [3, 5, 9, 12])
@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_loop_ends_at_the_bits_of_one_that_never_stopped(
    kind: str, stop: int, tmp_path: Path
) -> None:
    first, second = Loop(), Loop()
    first.run(0, stop)
    load = KINDS[kind](first, second, tmp_path)
    freezeplan.resume_from_checkpoint(
        second.model,
        second.optimizer,
        second.plan,
        load,
        phase=STEPS[stop - 1],
        next_phase=STEPS[stop],
    )
    second.scheduler.load_state_dict(first.scheduler.state_dict())
    second.run(stop, len(STEPS))
    assert moved(second.model, tensors(whole().model)) == set()


def test_the_two_orders_that_one_would_write_lose_something(tmp_path: Path) -> None:
    first, after, before = Loop(), Loop(), Loop()
    first.run(0, 5)
    distributed(first, after, tmp_path)()
    freezeplan.enter_phase(after.model, after.optimizer, after.plan, STEPS[4])
    assert first.optimizer.state[first.model.low[0].weight]
    assert not after.optimizer.state.get(after.model.low[0].weight)
    first = Loop()
    first.run(0, 3)
    load = distributed(first, before, tmp_path)
    freezeplan.enter_phase(before.model, before.optimizer, before.plan, STEPS[3])
    with pytest.raises(CheckpointException, match="Missing key"):
        load()


def refused(loop: Loop, load: Saved) -> list[str]:
    with pytest.raises(DiagnosticError) as caught:
        freezeplan.resume_from_checkpoint(loop.model, loop.optimizer, loop.plan, load, phase=0)
    return [item.code for item in caught.value.diagnostics]


def test_what_loading_undoes_is_refused(tmp_path: Path) -> None:
    loop = Loop()
    saved = copy.deepcopy(loop.model.state_dict())
    assert "FP432" in refused(loop, lambda: loop.model.load_state_dict(saved, assign=True))
    loop, other = Loop(), Loop()
    for group in other.optimizer.param_groups:
        group["param_names"] = list(reversed(group["param_names"]))
    assert "FP432" in refused(loop, plainly(other, loop, tmp_path))


def test_weight_decay_is_the_plans_though_another_was_saved(tmp_path: Path) -> None:
    loop, other = Loop(), Loop()
    for group in other.optimizer.param_groups:
        group["weight_decay"] = 0.7
    freezeplan.resume_from_checkpoint(
        loop.model, loop.optimizer, loop.plan, plainly(other, loop, tmp_path), phase=0
    )
    assert {group["weight_decay"] for group in loop.optimizer.param_groups} == {0.01}
