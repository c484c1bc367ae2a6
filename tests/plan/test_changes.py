"""What changed between two plans: equal plans say nothing, models that grew or were renamed a few lines."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezeplan.inventory.records import Inventory
from freezeplan.plan.changes import compare
from freezeplan.plan.comparable import comparable
from freezeplan.plan.compiling import compile_plan
from freezeplan.plan.document import to_record
from freezeplan.plan.gathering import gathered, with_ranges, without_ranges
from freezeplan.plan.records import Plan
from freezeplan.render.changes import change_lines
from freezeplan.spec.reading import load_spec
from tests.plan.matching import rule, sized
from tests.plan.test_reading import plans
from tests.strategies import inventories

PARTS = {
    "attention.q_lin.weight": (4, 4),
    "attention.k_lin.weight": (4, 4),
    "attention.out_lin.weight": (4, 4),
    "ffn.weight": (4, 8),
    "norm.weight": (4,),
}
RULES = [rule("**", "frozen", name="all"), rule("heads", "trainable", name="heads", lr_mult=2.0)]


def tower(
    layers: int = 12, parts: dict[str, tuple[int, ...]] | None = None, head: int = 2, **more: Any
) -> Inventory:
    """Return a model of equal layers with a head."""
    stack = more.pop("stack", "transformer.layer")
    shapes = {"embeddings.weight": (50, 4)}
    shapes |= {f"{stack}.{i}.{name}": size for i in range(layers) for name, size in (parts or PARTS).items()}
    return sized({**shapes, "heads.topic.weight": (head, 4), **more.pop("extra", {})}, **more)


def record(model: Inventory, rules: list[dict[str, Any]] | None = None, **spec: Any) -> dict[str, Any]:
    plan = compile_plan(model, load_spec({"optimizer": {"no_decay": []}, "rule": rules or RULES, **spec}))
    return comparable(json.loads(json.dumps(to_record(plan))))


def lines(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return change_lines(compare(before, after))


@settings(max_examples=60)
@given(plans())
def test_a_plan_does_what_it_does_also_read_back_from_json(plan: Plan) -> None:
    one, other = comparable(to_record(plan)), comparable(json.loads(json.dumps(to_record(plan))))
    assert compare(one, other).count == 0


@settings(max_examples=60)
@given(plans(), plans())
def test_what_differs_one_way_differs_the_other_way_too(one: Plan, other: Plan) -> None:
    records = [comparable(json.loads(json.dumps(to_record(plan)))) for plan in (one, other)]
    there, back = compare(*records), compare(*reversed(records))
    assert bool(there.count) == bool(back.count)
    assert all(isinstance(line, str) and line for line in change_lines(there))


def upper(first: int) -> list[dict[str, Any]]:
    pattern = f"transformer.layer.{{{first}..11}}"
    return [*RULES, rule(pattern, "trainable", name="upper", lr_mult=0.5)]


def test_layers_that_thaw_are_one_line_with_the_rules_of_both_sides() -> None:
    assert lines(record(tower(), upper(10)), record(tower(), upper(8))) == [
        "state frozen -> trainable: `transformer.layer.{8..9}` (10 tensors), by `all` -> `upper`",
        "modules in eval mode: - `transformer.layer.{8..9}`",
    ]


def test_names_of_rules_make_no_difference() -> None:
    renamed = [{**item, "name": f"my {item['name']}"} for item in RULES]
    assert compare(record(tower()), record(tower(), renamed)).count == 0


def test_a_layer_more_is_one_line() -> None:
    assert lines(record(tower()), record(tower(13)))[0] == (
        "added, frozen: `transformer.layer.12` (5 tensors), by `all`"
    )


def test_a_ladder_of_rates_is_one_line_whatever_its_height() -> None:
    def ladder(model: Inventory, factor: float) -> dict[str, Any]:
        rules = [
            rule(f"transformer.layer.{i}", name="ladder" if i == 0 else f"ladder {i}", lr_mult=factor**i)
            for i in range(300)
        ]
        found = record(model, [rule("**", "trainable", name="all"), *rules])
        for row in found["phases"][0]["parameters"]:
            row["decided_by"] = {"state": "all", "lr": "ladder"}
        return found

    model = tower(300)
    found = lines(ladder(model, 0.99), ladder(model, 0.98))
    assert len(found) == 1 and "`transformer.layer.{1..299}` (1,495 tensors), by `ladder`" in found[0]


def test_another_width_of_the_head_is_a_shape() -> None:
    assert lines(record(tower()), record(tower(head=3))) == ["shape [2, 4] -> [3, 4]: `heads` (1 tensor)"]


def test_a_tied_tensor_that_is_untied() -> None:
    extra = {"extra": {"lm_head.weight": (50, 4)}}
    tied = record(tower(ties={"lm_head.weight": "embeddings.weight"}, **extra))
    untied = record(tower(**extra))
    assert lines(tied, untied)[0] == "untied: `lm_head.weight` no longer a name of `embeddings.weight`"
    assert lines(untied, tied)[0] == "tied: `lm_head.weight` now a name of `embeddings.weight`"


RENAMED = {
    "self_attn.q_proj.weight": (4, 4),
    "self_attn.k_proj.weight": (4, 4),
    "self_attn.out_proj.weight": (4, 4),
    "ffn.weight": (4, 8),
    "norm.weight": (4,),
}


def test_layers_that_are_called_otherwise_are_compared_under_their_new_names() -> None:
    moved = record(tower(stack="model.layers", parts=RENAMED))
    assert lines(record(tower()), moved) == [
        "renamed: `transformer.layer` -> `model.layers` (24 tensors of the same shapes)",
        "renamed: `transformer.layer.#.attention.out_lin` -> `model.layers.#.self_attn.out_proj` "
        "(12 tensors of the same shapes)",
        "renamed: `transformer.layer.#.attention.k_lin` -> `model.layers.#.self_attn.k_proj` "
        "(12 tensors of the same shapes)",
        "renamed: `transformer.layer.#.attention.q_lin` -> `model.layers.#.self_attn.q_proj` "
        "(12 tensors of the same shapes)",
    ]


def test_the_projections_of_a_vision_transformer_keep_theirs_under_both_names() -> None:
    old = ("attention.query", "attention.key", "attention.value", "output.dense")
    new = ("q_proj", "k_proj", "v_proj", "o_proj")
    sides = [
        record(tower(4, {f"attention.{name}.weight": (4, 4) for name in names}, stack=stack))
        for names, stack in ((old, "vit.encoder.layer"), (new, "vit.layers"))
    ]
    found = compare(*sides).renamed
    assert {(item.before[-1], item.after[-1]) for item in found} == {
        (one.rpartition(".")[2], other) for one, other in zip(old, new, strict=True)
    }


def test_a_rate_that_changed_is_seen_behind_new_names() -> None:
    rules = [RULES[0], rule("heads", "trainable", name="heads", lr_mult=4.0)]
    found = lines(record(tower()), record(tower(stack="model.layers"), rules))
    assert found[1:] == ["lr 4e-05 -> 8e-05: `heads` (1 tensor), by `heads`"]


def test_a_wrapper_around_everything_is_one_line() -> None:
    names = {"embeddings.weight": (5, 4), "layer.0.w": (4, 4), "layer.1.w": (4, 4), "head.weight": (2, 4)}
    rules = [rule("**", "frozen", name="all")]
    bare = record(sized(names), rules)
    wrapped = record(sized({f"bert.{name}": shape for name, shape in names.items()}), rules)
    assert lines(bare, wrapped) == ["renamed: `**` -> `bert.**` (4 tensors of the same shapes)"]
    assert lines(wrapped, bare) == ["renamed: `bert.**` -> `**` (4 tensors of the same shapes)"]


def test_names_that_could_go_either_way_are_not_guessed() -> None:
    old = record(sized({"a.x.weight": (4,), "a.y.weight": (4,), "heads.w": (2,)}))
    new = record(sized({"b.u.weight": (4,), "b.v.weight": (4,), "heads.w": (2,)}))
    assert not compare(old, new).renamed


PHASES = [
    {"name": "one", "epochs": 1},
    {"name": "two", "epochs": 2, "rule": [rule("transformer.layer.{6..11}", "trainable", name="thaw")]},
]


def test_runs_that_share_no_phase_are_compared_by_what_ever_trains() -> None:
    assert lines(record(tower()), record(tower(), phase=PHASES)) == [
        "phases `whole run` -> `one`, `two`",
        "state frozen -> trainable: `transformer.layer.{6..11}` (30 tensors), by `all` -> `thaw`",
    ]


def test_what_changes_in_several_phases_is_said_once() -> None:
    other = [RULES[0], {**RULES[1], "lr_mult": 3.0}]
    assert lines(record(tower(), phase=PHASES), record(tower(), other, phase=PHASES)) == [
        "lr 4e-05 -> 6e-05: `heads` (1 tensor), by `heads`"
    ]


@settings(max_examples=100)
@given(st.data())
def test_patterns_stand_for_exactly_the_names(data: st.DataObject) -> None:
    inventory = data.draw(inventories(6))
    names = [info.name for info in inventory.params]
    some = [name for name in names if data.draw(st.booleans())]
    found = without_ranges(gathered(some, names))
    covered = [
        name for name in names if any(path in ("**", name) or name.startswith(f"{path}.") for path in found)
    ]
    assert covered == some
    assert sorted(without_ranges(with_ranges(names))) == sorted(names)


@pytest.mark.parametrize("version", ["1.2"])
def test_a_plan_of_an_older_format_is_compared_too(version: str) -> None:
    plan = compile_plan(
        tower(), load_spec({"optimizer": {"no_decay": []}, "rule": upper(10), "phase": PHASES})
    )
    full = json.loads(json.dumps(to_record(plan)))
    old = {key: value for key, value in full.items() if key != "assignments"} | {"format_version": version}
    assert compare(comparable(old), comparable(full)).count == 0
