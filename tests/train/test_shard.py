"""A run whose tensors are shared out by ``fully_shard`` is the run of one process, among one and among two."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as processes
from safetensors.torch import save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard as Rows
from torch.distributed.tensor import distribute_tensor

from freezeplan.apply import build_optimizer, fused_option
from freezeplan.apply.sharing import BY_NUMBER
from freezeplan.apply.tensors import whole
from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.from_module import inventory_of
from freezeplan.models.run_weights import weights_of_run
from freezeplan.models.sources import inventory_for
from freezeplan.plan.compiling import compile_plan
from freezeplan.runs.events import StepDone
from freezeplan.runs.tensor_files import write_tensors
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec
from freezeplan.train.resume import resume
from freezeplan.train.run import train
from freezeplan.train.strategies.choosing import check_strategy, strategy_for
from freezeplan.train.strategies.shard import Shard
from tests.apply.wrapping import one_process
from tests.train.phased import ALL, POOLER, TOP, phased_spec, tree
from tests.train.ranked import on_two_ranks, still_spec, still_toy, write_spec
from tests.train.test_run import interrupt_at

PHASES = [
    {"name": "heads", "steps": 2},
    {"name": "top", "steps": 2, "rule": [TOP]},
    {"name": "all", "steps": 2, "rule": [ALL, POOLER]},
]


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """Make this process a group of one, among whom tensors are shared out."""
    processes.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    if processes.is_initialized():
        processes.destroy_process_group()


def short_spec(toy: Path, **train: Any) -> Spec:
    table = {"batch_size": 24, "mixing": "joint", "strategy": "shard", "checkpoint_steps": 1, **train}
    return phased_spec(toy, PHASES, train=table)


def kept(out: Path) -> dict[str, bytes]:
    """Return what a run leaves of tensors, optimizer state and evidence."""
    chosen = (".safetensors", "evidence.json")
    return {name: content for name, content in tree(out).items() if name.endswith(chosen)}


def test_stopped_and_resumed_among_one_it_leaves_what_one_process_does(
    toy: Path, tmp_path: Path, group: None
) -> None:
    spec = short_spec(toy, store="require")

    def at_step(event: Any) -> bool:
        return isinstance(event, StepDone) and event.step == 3

    assert train(spec, tmp_path / "shared", interrupt_at(at_step, [])).status == "interrupted"
    assert resume(tmp_path / "shared").status == "finished"
    processes.destroy_process_group()
    result = train(spec, tmp_path / "one")
    assert [item.code for item in result.diagnostics if item.code == "FP562"] == ["FP562"]
    assert kept(tmp_path / "shared") == kept(tmp_path / "one")
    phases = json.loads((tmp_path / "one" / "evidence.json").read_text("utf-8"))["phases"]
    assert [phase["execution"].startswith("stored") for phase in phases] == [True, True, False]


LAYER = {"match": "@layers[-1:]", "state": "trainable"}
TOGETHER: dict[str, dict[str, Any]] = {
    "weights in bfloat16, layers that run again": {
        "model": {"dtype": "bfloat16"},
        "train": {"gradient_checkpointing": True},
    },
    "resting weights, forward passes in bf16": {
        "model": {"frozen_dtype": "bfloat16"},
        "train": {"precision": "bf16", "store": "off"},
    },
    "layers that freeze when they settle": {
        "rule": [ALL, {"match": "heads", "state": "trainable"}, {"match": "@pooler", "state": "frozen"}],
        "freeze_when": {"rule": "autofreeze", "keep": 1},
        "train": {"epochs": 3},
    },
}


@pytest.mark.parametrize("what", TOGETHER)
def test_shared_out_together_with(what: str, toy: Path, tmp_path: Path, group: None) -> None:
    tables = dict(TOGETHER[what])
    model = tables.pop("model", {})
    train_table = {"batch_size": 24, "strategy": "shard", **tables.pop("train")}
    phases = (
        None
        if "freeze_when" in tables
        else [{"name": "a", "steps": 2}, {"name": "b", "steps": 2, "rule": [LAYER]}]
    )
    spec = phased_spec(toy, phases or [], train=train_table, **tables)
    spec = spec.model_copy(update={"model": spec.model.model_copy(update=model)})
    shared, one = tmp_path / "shared", tmp_path / "one"
    assert train(spec, shared).status == "finished"
    processes.destroy_process_group()
    train(spec, one)
    assert kept(shared) == kept(one)


def test_a_file_written_one_tensor_at_a_time_is_the_librarys_own(tmp_path: Path, group: None) -> None:
    tensors = {
        "b.weight": torch.randn(3, 5),
        "a": torch.arange(7),
        "é": torch.randn(2, 2).to(torch.bfloat16),
        "none": torch.zeros(0, 4),
        "step": torch.tensor(3.0),
        "mask": torch.tensor([True, False]),
    }
    save_file(tensors, tmp_path / "library", metadata={"format": "pt"})
    mesh = init_device_mesh("cpu", (1,))
    shared = {
        name: distribute_tensor(tensor, mesh, [Rows(0)]) if tensor.dim() > 1 else tensor
        for name, tensor in tensors.items()
    }
    write_tensors(tmp_path / "ours", shared)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "library").read_bytes()


@pytest.mark.parametrize("name", sorted(BY_NUMBER))
def test_an_optimizer_steps_parts_as_it_steps_wholes(group: None, name: str) -> None:
    found = []
    for shared in (False, True):
        torch.manual_seed(3)
        model = torch.nn.Linear(3, 2)
        tables = {"optimizer": {"name": name, "lr": 0.1}, "rule": [{"match": "**", "state": "trainable"}]}
        plan = compile_plan(inventory_of(model, "one layer"), load_spec(tables))
        if shared:
            fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
        optimizer = build_optimizer(model, plan, **fused_option(model, plan))
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.ones(1, 3)).sum().backward()
            optimizer.step()
        found.append([whole(tensor) for tensor in model.parameters()])
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        ({"optimizer": {"name": "adafactor", "lr": 1e-3}}, "train.strategy"),
        ({"train": {"strategy": "shard", "mixing": "joint", "balancing": "mgda"}}, "train.balancing"),
        ({"train": {"strategy": "shard", "precision": "fp16"}}, "train.precision"),
    ],
)
def test_what_looks_at_whole_tensors_is_refused(toy: Path, tables: dict[str, Any], key: str) -> None:
    values = {"train": {"strategy": "shard"}, **tables}
    spec = phased_spec(toy, PHASES, **values)
    inventory = inventory_for(spec)
    found = check_strategy(spec, compile_plan(inventory, spec), Shard(alone()), inventory)
    assert [(item.code, item.help is not None) for item in found] == [("FP561", True)]
    assert found[0].where == key


class Stacked(torch.nn.Module):
    """Experts in one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3, 4, 4))


@pytest.mark.parametrize(
    ("experts", "codes"),
    [(lambda: torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(3)), ["FP561"]), (Stacked, [])],
)
def test_experts_that_are_modules_are_refused_and_stacked_ones_are_not(
    experts: Any, codes: list[str]
) -> None:
    model = torch.nn.ModuleDict({"router": torch.nn.Linear(4, 3), "experts": experts()})
    spec = load_spec({"rule": [{"match": "**", "state": "trainable"}], "train": {"strategy": "shard"}})
    inventory = inventory_of(model, "experts")
    found = check_strategy(spec, compile_plan(inventory, spec), Shard(alone()), inventory)
    assert [item.code for item in found] == codes


def test_one_process_is_asked_for_and_there_are_two(toy: Path) -> None:
    with pytest.raises(DiagnosticError, match="for one process, and there are 2"):
        strategy_for(short_spec(toy, strategy="single"), alone(2))
    assert strategy_for(short_spec(toy, strategy="auto"), alone(2)).name == "replicate"
    assert strategy_for(short_spec(toy), alone(2)).ranks.together


def alone(count: int = 1) -> Any:
    return SimpleNamespace(process_index=0, num_processes=count, device=torch.device("cpu"))


@pytest.mark.slow
def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    spec = still_spec(still_toy(tmp_path), "joint", strategy="shard")
    ran = on_two_ranks(
        "freezeplan", "train", write_spec(spec, tmp_path / "s.toml"), "--out", tmp_path / "two"
    )
    assert ran.returncode == 0, ran.stderr
    train(spec, tmp_path / "one")
    one, two = weights_of_run(tmp_path / "one"), weights_of_run(tmp_path / "two")
    assert max(float((two[name] - value).abs().max()) for name, value in one.items()) <= 1e-6
    evidence = json.loads((tmp_path / "two" / "evidence.json").read_text("utf-8"))
    assert evidence["holds"] and evidence["statement"].endswith("the same bits in 2 processes")


def test_what_is_shared_out_and_what_is_not_is_clipped_by_one_norm(tmp_path: Path) -> None:
    with one_process(tmp_path):
        mesh = init_device_mesh("cpu", (1,))
        parts = [
            torch.nn.Parameter(distribute_tensor(torch.ones(2), mesh)),
            torch.nn.Parameter(torch.ones(())),
        ]
        parts[0].grad, parts[1].grad = distribute_tensor(torch.full((2,), 2.0), mesh), torch.tensor(1.0)
        Shard(None).clip(parts, 1.5)
        found = [*whole(parts[0].grad).tolist(), float(parts[1].grad)]
    assert found == pytest.approx([1.0, 1.0, 0.5], abs=1e-5)
