"""The groups' laws: a partition of exactly what trains, in order, the same to the byte every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.records import Inventory
from freezeplan.plan.compiling import compile_plan
from freezeplan.plan.document import plan_hash, to_json, to_record
from freezeplan.plan.grouping import partition
from freezeplan.plan.records import Assignment, Plan, PlannedParam
from freezeplan.spec.reading import load_spec
from tests.plan.matching import assignments, compiled, named, rule
from tests.strategies import inventories, specs

ROOT = Path(__file__).parents[2]


@st.composite
def plans(draw: st.DrawFn) -> tuple[Plan, Inventory]:
    """Draw a compiled plan and the inventory it is for."""
    inventory = draw(inventories(4))
    spec = load_spec(draw(specs(inventory)))
    try:
        return compile_plan(inventory, spec), inventory
    except DiagnosticError:
        assume(False)
        raise


@settings(max_examples=60)
@given(plans())
def test_groups_and_frozen_rows_are_a_partition_of_the_tensors(made: tuple[Plan, Inventory]) -> None:
    plan, inventory = made
    grouped = [name for group in plan.groups for name in group.members]
    frozen = [name for row in plan.frozen for name in row.members]
    assert len(set(grouped + frozen)) == len(grouped + frozen)
    assert set(grouped) == set(plan.names(trainable=True))
    assert set(frozen) == set(plan.names(trainable=False))
    assert set(grouped + frozen) == {info.name for info in inventory.tensors}


@settings(max_examples=60)
@given(st.data())
def test_an_alike_optimizer_for_some_tensors_changes_no_number(data: st.DataObject) -> None:
    """It parts groups, and each of its tensors is one that it matches."""
    inventory = data.draw(inventories(4))
    written = data.draw(specs(inventory))
    own = data.draw(st.sampled_from(sorted({info.name for info in inventory.tensors if not info.alias_of})))
    try:
        plan = compile_plan(inventory, load_spec(written))
        optimizer = written.get("optimizer", {}) | {"second": {"name": "adamw", "match": own}}
        two = compile_plan(inventory, load_spec(written | {"optimizer": optimizer}))
    except DiagnosticError:
        assume(False)
        raise
    for one, other in zip(plan.phases, two.phases, strict=True):
        assert [replace(what, optimizer="") for what in other.assignments] == list(one.assignments)
    held = {name for group in two.groups if group.optimizer == "second" for name in group.members}
    assert held == {own} & set(plan.names(trainable=True))


@settings(max_examples=60)
@given(plans())
def test_members_stand_in_registration_order(made: tuple[Plan, Inventory]) -> None:
    plan, inventory = made
    order = {info.name: place for place, info in enumerate(inventory.tensors)}
    assert [param.name for param in plan.params] == list(order)
    for members in [group.members for group in plan.groups] + [row.members for row in plan.frozen]:
        assert [order[name] for name in members] == sorted(order[name] for name in members)
    firsts = [order[group.members[0]] for group in plan.groups]
    assert firsts == sorted(firsts)


@settings(max_examples=60)
@given(plans())
def test_names_are_unique_and_numbers_equal_within_a_group(made: tuple[Plan, Inventory]) -> None:
    plan, inventory = made
    names = [group.name for group in plan.groups]
    assert len(set(names)) == len(names)
    whats = assignments(plan)
    for group in plan.groups:
        numbers = {(what.lr, what.weight_decay, what.options) for what in map(whats.get, group.members)}
        assert numbers == {(group.lr[0], group.weight_decay[0], group.options[0])}
        assert {whats[name].rule for name in group.members} == {group.rule}


@settings(max_examples=60)
@given(plans())
def test_sizes_add_up(made: tuple[Plan, Inventory]) -> None:
    plan, inventory = made
    assert sum(g.numel for g in plan.groups) + sum(r.numel for r in plan.frozen) == plan.numel
    assert plan.numel == sum(info.numel for info in inventory.tensors)
    assert plan.phases[0].trainable_numel == sum(group.numel for group in plan.groups)
    totals = to_record(plan)["totals"]
    assert totals["trainable_tensors"] == sum(len(group.members) for group in plan.groups)
    assert totals["tied_names"] == len(inventory.params) - len(inventory.tensors)


@settings(max_examples=30)
@given(st.data())
def test_compiling_again_gives_the_same_bytes(data: Any) -> None:
    inventory = data.draw(inventories(4))
    spec = data.draw(specs(inventory))
    assert outcome_text(inventory, spec) == outcome_text(inventory, spec)


def outcome_text(inventory: Inventory, spec: dict[str, Any]) -> str:
    """Return the plan's JSON, or the text of what is wrong."""
    try:
        return to_json(compile_plan(inventory, load_spec(spec)))
    except DiagnosticError as error:
        return str(error)


SCRIPT = """
import sys
from tests.plan.matching import compiled, named, rule
from freezeplan.plan.document import to_json
names = [f"encoder.layer.{i}.{part}" for i in range(12) for part in ("weight", "bias")]
inventory = named("embeddings.weight", *names, "head.weight", "head.bias", ties={"head.weight": "embeddings.weight"})
plan = compiled(
    inventory,
    rule("**", "frozen", name="all", weight_decay=0.1),
    rule("encoder.layer.{6..11}", "trainable", lr_mult=0.5),
    rule("**.bias", betas=[0.9, 0.95], eval_mode=False),
    rule(["embeddings", "head.weight"], "trainable", lr=0.001, override=["all"]),
    rule("nowhere", "frozen", optional=True),
    no_decay=["**.bias", "@norm"],
)
sys.stdout.write(to_json(plan))
sys.stderr.write(" ".join(sorted({"torch", "transformers"} & set(sys.modules))))
"""


def in_process_of_its_own(seed: str) -> subprocess.CompletedProcess[str]:
    """Compile a fixed spec in a new interpreter, with its own order of sets."""
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )


def test_the_bytes_do_not_depend_on_the_order_of_sets_and_torch_is_never_imported() -> None:
    runs = [in_process_of_its_own(seed) for seed in ("0", "4242")]
    assert runs[0].stdout == runs[1].stdout
    assert json.loads(runs[0].stdout)["totals"]["trainable_tensors"] == 13
    assert [run.stderr for run in runs] == ["", ""]


def test_the_hash_is_of_what_the_plan_does_and_not_of_what_it_is_called() -> None:
    inventory = named("a.weight", "b.weight")
    one = compiled(inventory, rule("**", "trainable"))
    renamed = compile_plan(
        Inventory("another label", inventory.params, inventory.modules), load_spec(two_rates(None))
    )
    assert plan_hash(compile_plan(inventory, load_spec(two_rates(None)))) == plan_hash(renamed)
    assert plan_hash(one) != plan_hash(compile_plan(inventory, load_spec(two_rates(2.0))))


def two_rates(factor: float | None) -> dict[str, Any]:
    """Return a spec that trains all, at a multiple of the base rate if one is given."""
    return {"rule": [rule("**", "trainable", lr_mult=factor)]}


def test_what_no_decay_masks_is_a_group_of_its_own() -> None:
    inventory = named("a.weight", "a.bias")
    plan = compiled(inventory, rule("**", "trainable", name="all"), no_decay=["**.bias"], weight_decay=0.5)
    assert [(g.name, g.members, g.weight_decay) for g in plan.groups] == [
        ("all", ("a.weight",), (0.5,)),
        ("all/no_decay", ("a.bias",), (0.0,)),
    ]


def test_one_rule_with_different_numbers_gives_numbered_groups() -> None:
    inventory = named("a.weight", "b.weight", "c.weight")
    plan = compiled(
        inventory, rule(["a", "b"], lr=0.1), rule("b.weight", lr=0.2), rule("**", "trainable", name="all")
    )
    assert [(g.name, g.members, g.lr) for g in plan.groups] == [
        ("all", ("a.weight",), (0.1,)),
        ("all (2)", ("b.weight",), (0.2,)),
        ("all (3)", ("c.weight",), (2e-5,)),
    ]


def test_the_partition_is_of_all_phases_together() -> None:
    params = [PlannedParam(name, (), (2,), "float32", 2, None) for name in ("a", "b", "c")]
    off = Assignment("frozen", 0.0, 0.0, (), (), False, "rest")
    on = Assignment("trainable", 0.1, 0.0, (), (), False, "top")
    groups, frozen = partition(params, [[off, off, on], [off, on, on]], {"top": "x"})
    assert [(g.members, g.lr) for g in groups] == [(("b",), (None, 0.1)), (("c",), (0.1, 0.1))]
    assert [row.members for row in frozen] == [("a",)]
