"""Evidence: any bit of a frozen tensor or buffer counts, and what did not move has its cause."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from freezeplan.apply import apply_freeze
from freezeplan.apply.fingerprints import fingerprints, sha256
from freezeplan.inventory.from_module import inventory_of
from freezeplan.plan import Plan, compile_plan
from freezeplan.plan.deciding import state_key
from freezeplan.runs.evidence import CANCELLED, NO_RATE, UNUSED, Evidence, Tensor, compare
from freezeplan.runs.gradients import GradientWatch
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec


def small_model() -> tuple[nn.Module, Plan]:
    torch.manual_seed(0)
    heads = nn.ModuleDict({"a": nn.Linear(4, 2), "b": nn.Linear(4, 2)})
    body = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    model = nn.ModuleDict({"body": body, "live": nn.BatchNorm1d(4), "heads": heads})
    rules = [{"match": "**", "state": "trainable"}, {"match": "body", "state": "frozen"}]
    plan = compile_plan(inventory_of(model), Spec.model_validate({"rule": rules}))
    apply_freeze(model, plan)
    return model, plan


def evidence_after(change: dict[str, float], watch: GradientWatch | None = None) -> Evidence:
    model, plan = small_model()
    before = fingerprints(model)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for name, amount in change.items():
            tensors[name].add_(amount)
    return compare(
        model, plan, before, fingerprints(model), watch or GradientWatch(plan.names(trainable=True)), 1
    )


def test_nothing_moved_holds_but_says_that_nothing_moved() -> None:
    evidence = evidence_after({})
    assert evidence.holds
    assert evidence.statement == (
        "4 frozen tensors bit-identical (sha256), 0 of 6 trainable tensors moved, "
        "3 buffers of frozen modules bit-identical (sha256)"
    )


@pytest.mark.parametrize("name", ["body.0.weight", "body.1.bias", "body.1.running_mean"])
def test_a_frozen_tensor_or_buffer_that_moved_is_an_error(name: str) -> None:
    evidence = evidence_after({name: 1e-3})
    assert (evidence.holds, evidence.violations) == (False, (name,))
    error = evidence.diagnostics()[0]
    assert (error.code, error.is_error, name in error.message) == ("FP510", True, True)
    assert "MOVED" in evidence.statement


def test_buffers_of_trainable_modules_may_move() -> None:
    assert evidence_after({"live.running_mean": 1.0, "live.num_batches_tracked": 1}).holds


def test_the_record_lists_every_tensor_with_both_hashes() -> None:
    record = evidence_after({"heads.a.weight": 1.0}).as_record()
    moved = {item["name"] for item in record["tensors"] if item["before"] != item["after"]}
    assert moved == {"heads.a.weight"} == {item["name"] for item in record["tensors"] if item["moved"]}
    assert [item["name"] for item in record["tensors"]][-1] == "live.num_batches_tracked"
    assert (record["holds"], record["epoch"], len(record["unmoved"])) == (True, 1, 5)


def test_each_cause_of_not_moving_is_told_apart() -> None:
    _, plan = small_model()
    names = plan.names(trainable=True)
    group_of = {member: group.name for group in plan.groups for member in group.members}
    largest = {"live.bias": 0.0, "heads.a.weight": 1.0, "heads.a.bias": 0.5}
    rates = {group_of["heads.a.weight"]: 1e-12, group_of["heads.a.bias"]: 0.0}
    causes = evidence_after({}, GradientWatch(names, largest, {"a"}, rates)).causes
    assert causes["live.weight"] == "no gradient: unused in this forward"
    assert causes["live.bias"] == "the gradient was zero"
    assert causes["heads.a.weight"].startswith("the update is below the resolution of float32: rate 1.0e-12")
    assert causes["heads.a.bias"] == "the learning rate was 0 in every step"
    assert causes["heads.b.weight"] == causes["heads.b.bias"] == "task `b` was never trained"


def test_unmoved_tensors_are_one_warning_per_cause() -> None:
    found = evidence_after({}).diagnostics()
    assert {item.code for item in found} == {"FP511"}
    assert not any(item.is_error for item in found)
    assert len(found) == 3


def test_frozen_modules_stay_in_eval_mode_when_training_mode_is_asked_for() -> None:
    model, plan = small_model()
    before = fingerprints(model)
    model.train()
    states = model["live"](model["body"](torch.randn(8, 4)))
    model["heads"]["a"](states).sum().backward()
    assert (model["body"][2].training, model["body"][1].training, model["live"].training) == (
        False,
        False,
        True,
    )
    evidence = compare(model, plan, before, fingerprints(model), GradientWatch(()), 1)
    assert evidence.holds
    assert [t.name for t in evidence.tensors if t.moved] == [
        "live.running_mean",
        "live.running_var",
        "live.num_batches_tracked",
    ]


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20),
    st.integers(0, 10**6),
    st.integers(0, 31),
)
def test_one_flipped_bit_changes_the_hash(values: list[float], place: int, bit: int) -> None:
    tensor = torch.tensor(values)
    flipped = tensor.clone()
    raw = flipped.view(torch.int32)
    mask = torch.tensor(1 << bit if bit < 31 else -(1 << 31), dtype=torch.int64).to(torch.int32)
    raw[place % len(values)] ^= mask
    assert sha256(tensor) == sha256(tensor.clone())
    assert sha256(tensor) != sha256(flipped)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int8, torch.bool, torch.int64])
def test_every_number_format_and_shape_can_be_hashed(dtype: torch.dtype) -> None:
    tensor = torch.ones(3, 4, dtype=dtype)
    assert sha256(tensor.t()) != sha256(torch.zeros(4, 3, dtype=dtype))
    assert sha256(torch.ones((), dtype=dtype)) == sha256(torch.ones(1, dtype=dtype))
    assert sha256(torch.ones(0, dtype=dtype)) != sha256(tensor)


def test_the_watch_keeps_the_first_step_of_each_task_and_the_highest_rate() -> None:
    model, plan = small_model()
    watch = GradientWatch(plan.names(trainable=True))
    model["heads"]["a"](torch.ones(1, 4)).sum().backward()
    watch.see_gradients(model, ["a"])
    model["heads"]["b"](torch.ones(1, 4)).sum().backward()
    watch.see_gradients(model, ["a"])
    assert watch.without_gradient == ("live.weight", "live.bias", "heads.b.weight", "heads.b.bias")
    watch.see_gradients(model, ["b"])
    assert watch.without_gradient == ("live.weight", "live.bias")
    for rate in (0.1, 0.3, 0.2):
        watch.see_rates({"g": rate})
    assert watch.rates == {"g": 0.3}


def test_what_moved_or_did_not_is_shown_at_the_rule_that_had_it_so(tmp_path: Path) -> None:
    text = """rule = [
    { match = "**", state = "frozen" },
    { match = "1", state = "trainable" },
]
[[phase]]
name = "all"
epochs = 1
rule = [{ match = "0", state = "trainable" }]
"""
    (tmp_path / "spec.toml").write_text(text, "utf-8")
    spec = load_spec(tmp_path / "spec.toml")
    plan = compile_plan(
        inventory_of(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1), nn.BatchNorm1d(1))), spec
    )
    moved = Tensor("2.weight", "parameter", frozen=True, before="1", after="2")
    causes = {"1.weight": NO_RATE, "0.bias": UNUSED, "2.running_mean": CANCELLED}
    items = Evidence(1, (moved,), causes, {}).diagnostics(partial(state_key, spec, plan))
    found = [(item.code, item.span and item.span.line) for item in spec.locations.attach(items)]
    assert found == [("FP510", 2), ("FP511", 3), ("FP511", 8), ("FP511", None)]
    assert all(item.help for item in items)
