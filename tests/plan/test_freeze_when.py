"""`[freeze_when]`: the phases that it stands for, what they freeze at least and at most, and how that is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from freezeplan.models.sources import inventory_for
from freezeplan.plan.changes import compare
from freezeplan.plan.comparable import comparable
from freezeplan.plan.compiling import compile_plan
from freezeplan.plan.document import plan_hash, to_json, to_record
from freezeplan.plan.lock import lock_text
from freezeplan.plan.lock_reading import read_lock
from freezeplan.plan.reading import plan_from_json
from freezeplan.plan.records import FreezeRule, Plan
from freezeplan.render.schedule import freezing_text, length_text, schedule_facts
from freezeplan.spec.reading import load_spec
from tests.plan.test_gradual import BERT

HEAD = {
    "spec": {"path": "s.toml"},
    "libraries": {"torch": "2"},
    "model": {"label": "m", "origin": "o", "base": ""},
}


def plan_of(frozen: Sequence[str] = ("@pooler",), **when: Any) -> Plan:
    spec = load_spec(
        {
            "model": {"config": BERT},
            "rule": [{"match": "**", "state": "trainable"}, {"match": list(frozen), "state": "frozen"}],
            "task": [{"name": "t", "labels": ["a", "b"]}],
            "freeze_when": {"keep": 1, **when},
            "train": {"epochs": 4},
        }
    )
    return compile_plan(inventory_for(spec), spec)


def test_each_phase_freezes_more_layers_and_what_feeds_them() -> None:
    plan = plan_of()
    assert [phase.frozen_prefix.layers for phase in plan.phases] == [0, 1, 2, 3, 4]
    assert [phase.name for phase in plan.phases[1:3]] == ["layer 0 frozen", "layers 0-1 frozen"]
    refrozen = plan.phases[1].refrozen
    assert all(name.startswith(("backbone.embeddings.", "backbone.encoder.layer.0.")) for name in refrozen)
    assert all(not phase.thawed for phase in plan.phases)
    pairs = zip(plan.phases, plan.phases[1:], strict=False)
    assert all(later.trainable_numel < phase.trainable_numel for phase, later in pairs)


def test_a_head_that_is_tied_to_the_embeddings_freezes_with_them() -> None:
    config = {
        "model_type": "gpt2",
        "n_embd": 8,
        "n_layer": 4,
        "n_head": 2,
        "vocab_size": 20,
        "n_positions": 8,
    }
    spec = load_spec(
        {
            "model": {"config": config},
            "rule": [{"match": "**", "state": "trainable"}],
            "task": [{"name": "story", "kind": "causal_lm"}],
            "freeze_when": {},
            "train": {"epochs": 3},
        }
    )
    first, *later = compile_plan(inventory_for(spec), spec).phases
    assert "backbone.wte.weight" not in first.refrozen and len(later) == 2
    assert "backbone.wte.weight" in later[0].refrozen
    assert [phase.frozen_prefix.layers for phase in later] == [1, 2]


def test_layers_freeze_together_and_those_that_are_kept_never_do() -> None:
    plan = plan_of(per_phase=2, keep=2)
    assert [phase.frozen_prefix.layers for phase in plan.phases] == [0, 2, 3]
    assert len(plan_of(keep=3).phases) == 3
    assert [phase.frozen_prefix.layers for phase in plan_of(keep=None).phases] == [0, 1, 2], (
        "half of five, rounded up"
    )


def test_what_the_rules_keep_frozen_makes_no_phase() -> None:
    plan = plan_of(("@pooler", "@embeddings", "@layers[:2]"))
    assert [phase.name for phase in plan.phases[1:]] == ["layers 0-2 frozen", "layers 0-3 frozen"]
    assert [phase.frozen_prefix.layers for phase in plan.phases] == [2, 3, 4]
    assert "FP424" not in {item.code for item in plan.diagnostics}
    assert plan_of(("@pooler", "@layers[0]")).phases[1].name == "layer 0 frozen", "the embeddings freeze then"


def test_all_phases_share_one_schedule_over_the_epochs_of_the_run() -> None:
    plan = plan_of()
    assert {(phase.length.unit, phase.length.count, phase.schedule.stretch) for phase in plan.phases} == {
        ("moving", 4, 0)
    }
    assert length_text(plan.phases[0].length) == "until lower layers settle, at most 4 epochs"


@pytest.mark.parametrize(
    "when, other, rule",
    [
        ({}, {"tolerance": 0.25}, FreezeRule("egeria", 2, tolerance=0.2)),
        (
            {"rule": "autofreeze"},
            {"rule": "autofreeze", "percentile": 70.0},
            FreezeRule("autofreeze", 4, 50.0),
        ),
    ],
)
def test_the_rule_is_part_of_the_plan_its_hash_and_its_lock(
    when: dict[str, Any], other: dict[str, Any], rule: FreezeRule
) -> None:
    plan, changed = plan_of(**when), plan_of(**other)
    assert plan.freeze_when == rule
    assert plan_from_json(to_json(plan)) == plan
    assert plan_hash(plan) != plan_hash(changed)
    record = comparable(to_record(plan))
    assert (
        read_lock(lock_text(record, HEAD, "s.toml"), "s.lock").record["freeze_when"] == record["freeze_when"]
    )
    assert compare(record, comparable(to_record(changed))).count == 1


def test_the_least_and_the_most_that_train_in_the_end_are_said() -> None:
    plan = plan_of()
    least, most = plan.phases[-1].trainable_numel, plan.phases[0].trainable_numel
    assert f"between {least:,} and {most:,} of" in freezing_text(plan)
    assert ("freezes", freezing_text(plan)) in schedule_facts(plan)
