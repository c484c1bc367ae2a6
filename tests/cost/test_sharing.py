"""What one of several processes needs: shares of tensors and rows, as in a real group of processes."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as processes
from torch import nn

from freezeplan.api import compile_plan
from freezeplan.apply import build_optimizer
from freezeplan.apply.phases import enter_phase
from freezeplan.apply.sharing_out import share_out
from freezeplan.cost.estimating import estimate_cost
from freezeplan.cost.fitting import fit_batches
from freezeplan.cost.memory import measure_memory
from freezeplan.cost.records import Memory, PhaseCost
from freezeplan.cost.sharing import Sharing, pretended_mesh
from freezeplan.cost.tracking import LiveBytes
from freezeplan.cost.trial import Trial
from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.records import Stack
from tests.apply.wrapping import one_process
from tests.cost.test_fitting import LENGTH, asked
from tests.cost.trials import rules, trial_of, vectors

BATCH = 7
LAYERS = (Stack("0", ("0.0", "0.1")),)


def phase(way: str = "auto", count: int = 1, **more: Any) -> PhaseCost:
    (found,) = estimate_cost(*asked({"strategy": way, **more}), BATCH, LENGTH, count).phases
    return found


def test_each_of_two_holds_half_of_every_tensor_and_runs_the_larger_half_of_the_rows() -> None:
    one, shared = phase("shard"), phase("shard", 2)
    # A tensor of an odd number of rows is filled up, and buffers are whole everywhere.
    for key, most in (("weights", 2500), ("gradients", 200), ("optimizer_state", 600)):
        whole, part = getattr(one.memory, key), getattr(shared.memory, key)
        assert 0 <= 2 * part - whole <= most, key
    assert shared.step.forward * BATCH == pytest.approx(one.step.forward * 4, rel=0.01)
    assert shared.memory.saved < 0.6 * one.memory.saved and shared.memory.peak < one.memory.peak
    assert shared.store is not None and one.store is not None
    assert (shared.store.nbytes, shared.store.build) == (one.store.nbytes // 2, one.store.build // 2)


def test_each_of_two_that_replicate_holds_all_and_runs_its_rows() -> None:
    one, two = phase(), phase(count=2)
    assert (two.memory.weights, two.memory.gradients) == (one.memory.weights, one.memory.gradients)
    assert two.memory.activations < 0.6 * one.memory.activations
    assert two.epoch == pytest.approx(one.epoch * 4 / BATCH, rel=0.01)


def test_batches_that_fit_are_those_of_all_processes() -> None:
    spec, plan = asked({"strategy": "shard"})
    fitting = fit_batches(spec, plan, 1 << 20, LENGTH, 2)
    assert fitting.rows is not None and fitting.rows % 2 == 0 and "(shard)" in fitting.company
    (item,) = fitting.phases
    assert item.peak <= 1 << 20 < item.beyond
    assert not processes.is_initialized()


@pytest.mark.parametrize("tables", [{"train": {"strategy": "single"}}, {"optimizer": {"name": "adafactor"}}])
def test_processes_that_cannot_share_a_run_are_refused(tables: dict[str, Any]) -> None:
    spec, plan = asked(**({"train": {"strategy": "shard"}} | tables))
    with pytest.raises(DiagnosticError) as caught:
        estimate_cost(spec, plan, processes=2)
    assert caught.value.diagnostics[0].code == "FP561"


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Sequential(nn.Linear(4, 64), nn.Linear(64, 4)), nn.Linear(4, 3))


def shared_memory(trial: Trial, mesh: Any) -> Memory:
    spec = {"rule": rules("0.0"), "optimizer": {"no_decay": [], "lr": 0.1}}
    plan = compile_plan(trial.model, spec)
    with trial.running():
        share_out(trial.model, plan, LAYERS, mesh, torch.device("cpu"))
        built = build_optimizer(trial.model, plan)
        enter_phase(trial.model, built, plan, 0)
    return measure_memory(trial, built, trial.learning())


def test_fake_parts_need_the_bytes_of_real_ones(tmp_path: Path) -> None:
    fake = replace(trial_of(layers(), vectors(4), evaluates=True, clip_norm=1.0), sharing=Sharing("shard", 1))
    with pretended_mesh(1) as mesh:
        found = shared_memory(fake, mesh)
    with one_process(tmp_path):
        mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
        real = shared_memory(replace(fake, model=layers(), mode=nullcontext()), mesh)
    assert found == real


def test_what_is_resized_counts_as_what_it_is_then() -> None:
    kept = torch.zeros(8)
    with LiveBytes() as live, live.window() as window:
        live.add(kept)
        kept.untyped_storage().resize_(0)
        assert live.now == 0
        kept.untyped_storage().resize_(64)
    assert (window.end, window.peak) == (64, 64)


def test_a_process_with_company_does_not_pretend_to_have_another(tmp_path: Path) -> None:
    with one_process(tmp_path), pytest.raises(DiagnosticError, match="company"), pretended_mesh(2):
        pass
