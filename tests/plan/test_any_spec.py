"""Whatever a spec holds, the compiler answers with a plan or with diagnostics, and all of it can be shown."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.inventory.records import Inventory
from freezeplan.models.sources import inventory_for
from freezeplan.plan import Plan, compile_plan
from freezeplan.plan.diff import diff_records
from freezeplan.plan.document import to_json
from freezeplan.render.diagnostics import DiagnosticsView, diagnostics_json
from freezeplan.render.matrix import MatrixView
from freezeplan.render.table import PlanView
from freezeplan.render.timeline import timeline_svg
from freezeplan.spec.reading import load_spec
from tests.render.drawing import drawn

# `FREEZEPLAN_EXAMPLES=100000` runs it long.
EXAMPLES = int(os.environ.get("FREEZEPLAN_EXAMPLES", "60"))
TASKS = [{"name": "one", "labels": ["a", "b"]}, {"name": "two", "labels": ["a", "b", "c"]}]
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {"num_hidden_layers": 3, "hidden_size": 8, "num_attention_heads": 2, "vocab_size": 9},
    "t5": {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_heads": 2, "vocab_size": 16, "num_decoder_layers": 3},
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 8, 8], "depths": [1, 3, 2], "layer_type": "basic"},
}
SEGMENTS = (
    "backbone", "heads", "encoder", "layer", "one", "two", "0", "2", "{0..2}", "{0,9}", "{a,b,c}", "*", "**",
    "lay*", "*er",
    "@layers", "@layers[-2:]", "@layers[:50%]", "@layers[9]", "@heads", "@bias", "@norm", "@embeddings", "@stages[1]",
    "@pooler", "@tied", "@adapters", "weight", "bias", "", "a b", "[0-3]", "9" * 5000, "²", "x" * 300, "}{", "{1..}",
)  # fmt: skip
WHOLE = (
    "class:Linear",
    "class:",
    "re:.*",
    "re:(?R)",
    "re:(a{999}){999}",
    "re:[",
    r"re:.*\.(weight|bias)",
    ".".join("a" * 20_000),
)
ODD = st.sampled_from(
    [None, True, 0, -1, 1e-320, 1e308, 2**63, "", "x", [], {}, [[]], "9" * 400, "\ud800", "“frozen”"]
)
RATES = st.sampled_from([1e-300, 1e-5, 0.8, 1.0, 10.0, 2e5, 1e300])


def rarely(odd: st.SearchStrategy[Any], usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 24).flatmap(lambda number: odd if number == 7 else usual)


def usually(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return rarely(ODD, usual)


paths = st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=4).map(".".join)
patterns = rarely(
    st.sampled_from(WHOLE), paths | st.sampled_from(["**", "heads", "@layers", "@layers[-1]", "@backbone"])
)
matches = usually(patterns | st.lists(patterns, max_size=3))
decays = st.fixed_dictionaries(
    {"formula": usually(st.sampled_from(["beit", "electra", "timm", "dinov2", "ulmfit", "geometric"]))},
    optional={
        "rate": usually(RATES),
        "unit": usually(st.sampled_from(["layers", "stages"])),
        "min_mult": usually(RATES),
        "patch_embed_mult": usually(RATES),
    },
)
rules = st.fixed_dictionaries(
    {"match": matches},
    optional={
        "state": usually(st.sampled_from(["frozen", "trainable"])),
        "name": usually(st.sampled_from(["all", "top", "no_decay", "a"])),
        "lr": usually(RATES),
        "lr_mult": usually(RATES),
        "layer_decay": usually(decays),
        "weight_decay": usually(RATES),
        "weight_decay_mult": usually(RATES),
        "eval_mode": usually(st.booleans()),
        "betas": usually(st.just([0.9, 0.99])),
        "except": matches,
        "optional": usually(st.booleans()),
        "override": usually(st.lists(st.sampled_from(["all", "top", "no_decay"]), max_size=2)),
        "expect": usually(st.fixed_dictionaries({"tensors": st.integers(0, 10**6)})),
    },
)
schedules = st.fixed_dictionaries(
    {},
    optional={
        "name": usually(
            st.sampled_from(["linear", "cosine", "constant", "slanted_triangular", "polynomial"])
        ),
        "warmup": usually(st.sampled_from([0, 0.5, 10**12, 0.99])),
        "cut_frac": usually(st.just(0.3)),
    },
)
counts = st.sampled_from([1, 2, 10**9, 2**62])
untils = st.fixed_dictionaries(
    {"metric": st.sampled_from(["one/accuracy", "two/loss", "three/loss"]), "max_epochs": usually(counts)},
    optional={"patience": usually(counts), "target": usually(RATES)},
)
lengths: dict[str, st.SearchStrategy[Any]] = {
    "epochs": usually(counts),
    "steps": usually(counts),
    "until": usually(untils),
}
phases = st.fixed_dictionaries(
    {}, optional={**lengths, "rule": st.lists(rules, max_size=2), "schedule": usually(schedules)}
)
graduals = st.fixed_dictionaries(
    {"epochs": usually(counts)},
    optional={
        "over": matches,
        "then": matches,
        "per_phase": usually(counts),
        "direction": usually(st.sampled_from(["top_down", "bottom_up"])),
        "last_epochs": usually(counts),
        "start": usually(st.booleans()),
        "schedule": usually(schedules),
    },
)
own_optimizers = st.fixed_dictionaries(
    {"match": matches},
    optional={
        "except": matches,
        "name": usually(st.sampled_from(["adamw", "sgd", "lbfgs", "muon", "sparseadam", "adafactor"])),
        "class": usually(st.just("lion_pytorch:Lion")),
        "lr": usually(RATES),
        "weight_decay": usually(RATES),
        "options": usually(st.just({"foreach": False})),
        "momentum": usually(st.just(0.9)),
    },
)
optimizers = st.fixed_dictionaries(
    {},
    optional={
        "name": usually(st.sampled_from(["adamw", "sgd", "lbfgs", "muon", "sparseadam", "rprop"])),
        "lr": usually(RATES),
        "weight_decay": usually(RATES),
        "no_decay": usually(st.sampled_from(["timm", "beit", "transformers", ["@bias", "nothing.*"], []])),
        "momentum": usually(st.just(0.9)),
        "class": usually(st.just("lion_pytorch:Lion")),
        "options": usually(st.just({"betas": [0.9, 0.99]})),
        "one": usually(own_optimizers),
        "two": own_optimizers,
    },
)
BASE = {"match": "**", "state": "frozen"}
specs = st.fixed_dictionaries(
    {"rule": st.lists(rules, max_size=4).map(lambda more: [BASE, *more]) | st.lists(rules, max_size=3)},
    optional={
        "optimizer": optimizers,
        "schedule": usually(schedules),
        "phase": st.lists(phases, max_size=3),
        "gradual": graduals,
        "train": st.fixed_dictionaries(
            {}, optional={"epochs": usually(counts), "batch_size": usually(counts)}
        ),
        "extends": usually(
            st.sampled_from(["preset:llrd", "preset:top_layers", "preset:none", "nowhere.toml"])
        ),
        "unknown": ODD,
    },
)


@lru_cache(maxsize=3)
def model(model_type: str) -> Inventory:
    return inventory_for(
        load_spec({"model": {"config": {"model_type": model_type, **CONFIGS[model_type]}}, "task": TASKS})
    )


def answered(table: dict[str, Any], model_type: str) -> tuple[Plan | None, tuple[Diagnostic, ...]]:
    try:
        plan = compile_plan(model(model_type), load_spec({**table, "task": TASKS}))
    except DiagnosticError as error:
        return None, error.diagnostics
    return plan, plan.diagnostics


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(specs, st.sampled_from(sorted(CONFIGS)))
def test_any_spec_gives_a_plan_or_diagnostics_and_both_can_be_shown(
    table: dict[str, Any], model_type: str
) -> None:
    plan, items = answered(table, model_type)
    if plan is None:
        assert any(item.is_error for item in items)
    assert all(item.where or item.span for item in items)
    assert len(items) <= 200
    json.loads(diagnostics_json(items))
    drawn(DiagnosticsView(items), width=80)
    if plan is not None:
        assert not any(item.is_error for item in items)
        record = json.loads(to_json(plan))
        assert not diff_records(record, record)
        drawn(PlanView(plan), width=100)
        drawn(MatrixView(plan), width=100)
        assert "<svg" in timeline_svg(plan)


@pytest.mark.parametrize("model_type", sorted(CONFIGS))
def test_most_of_the_models_can_be_planned(model_type: str) -> None:
    plan, _ = answered({"rule": [BASE, {"match": "heads", "state": "trainable"}]}, model_type)
    assert plan is not None
