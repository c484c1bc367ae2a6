"""`[gradual]`: what it stands for on one stack, on several, on stages, and where it cannot stand for anything."""

from __future__ import annotations

from typing import Any

import pytest

from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.sources import inventory_for
from freezeplan.plan.compiling import compile_plan
from freezeplan.plan.records import Plan
from freezeplan.spec.reading import load_spec

BERT = {
    "model_type": "bert",
    "num_hidden_layers": 5,
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_attention_heads": 2,
    "vocab_size": 20,
}
BART = {
    "model_type": "bart", "d_model": 8, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "vocab_size": 20,
}  # fmt: skip
RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 8],
    "depths": [2, 1],
    "layer_type": "basic",
}
LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 3,
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_attention_heads": 2,
    "vocab_size": 20,
}
FREEZE_ALL = {"match": "**", "state": "frozen"}


def plan_of(config: dict[str, Any], tasks: int = 0, **gradual: Any) -> Plan:
    """Compile gradual unfreezing over a frozen model, with the heads trainable where there are tasks."""
    names = [{"name": f"t{index}", "labels": ["a", "b"]} for index in range(tasks)]
    heads = [{"match": "heads", "state": "trainable"}] if tasks else []
    length = {} if gradual.keys() & {"steps", "until"} else {"epochs": 1}
    spec = {
        "model": {"config": config},
        "rule": [FREEZE_ALL, *heads],
        "task": names,
        "gradual": {**length, **gradual},
    }
    read = load_spec(spec)
    return compile_plan(inventory_for(read), read)


def thaws(plan: Plan) -> list[set[str]]:
    """Return what thaws in each phase, as the path up to the layer's number."""
    return [{_place(name) for name in phase.thawed} for phase in plan.phases]


def _place(name: str) -> str:
    parts = name.removeprefix("backbone.").split(".")
    last = max((at for at, part in enumerate(parts) if part.isdecimal()), default=0)
    return ".".join(parts[: last + 1])


def test_layers_thaw_from_the_top_one_by_one_and_then_the_embeddings() -> None:
    plan = plan_of(BERT, tasks=1, then=["@embeddings"])
    names = ["start", *(f"layer {number}" for number in (4, 3, 2, 1, 0)), "@embeddings"]
    assert [phase.name for phase in plan.phases] == names
    assert thaws(plan) == [
        set(),
        *({f"encoder.layer.{number}"} for number in (4, 3, 2, 1, 0)),
        {"embeddings"},
    ]


def test_several_at_a_time_the_last_phase_takes_what_is_left() -> None:
    plan = plan_of(BERT, tasks=1, per_phase=2, last_epochs=4)
    assert [phase.name for phase in plan.phases] == ["start", "layers 3-4", "layers 1-2", "layer 0"]
    assert [phase.length.count for phase in plan.phases] == [1, 1, 1, 4]


def test_bottom_up_and_without_a_start() -> None:
    plan = plan_of(BERT, tasks=1, direction="bottom_up", start=False, per_phase=3)
    assert [phase.name for phase in plan.phases] == ["layers 0-2", "layers 3-4"]
    assert not {name for name in plan.names(0, trainable=True) if ".4." in name}


def test_only_a_slice_of_the_stack_thaws() -> None:
    plan = plan_of(BERT, tasks=1, over="@layers[-2:]")
    assert [phase.name for phase in plan.phases] == ["start", "layer 4", "layer 3"]


@pytest.mark.parametrize("text", ["class:BertLayer", "re:encoder\\.layer\\..*", "encoder.layer.{0..4}", "**"])
def test_what_names_no_stack_is_refused_at_its_place(text: str) -> None:
    with pytest.raises(DiagnosticError) as refused:
        plan_of(BERT, over=text)
    assert [(item.code, item.where) for item in refused.value.diagnostics] == [("FP216", "gradual.over[1]")]


def test_the_pooler_goes_with_the_top_layer_where_something_reads_it() -> None:
    assert thaws(plan_of(BERT))[1] == {"encoder.layer.4", "pooler"}
    assert thaws(plan_of(BERT, tasks=1))[1] == {"encoder.layer.4"}


def test_the_final_norm_goes_with_the_top_layer() -> None:
    assert thaws(plan_of(LLAMA))[1] == {"layers.2", "norm"}
    assert thaws(plan_of(LLAMA, direction="bottom_up"))[-1] == {"layers.2", "norm"}


def test_several_stacks_thaw_in_step_and_the_shorter_one_is_done_first() -> None:
    plan = plan_of(BART)
    assert [phase.name for phase in plan.phases] == ["start", "layers 1 + 2", "layers 0 + 1", "layer 0"]
    assert thaws(plan)[1:] == [
        {"encoder.layers.1", "decoder.layers.2"},
        {"encoder.layers.0", "decoder.layers.1"},
        {"decoder.layers.0"},
    ]


def test_one_stack_of_several_is_named_by_its_path() -> None:
    assert thaws(plan_of(BART, over="decoder.@layers"))[1:] == [{f"decoder.layers.{at}"} for at in (2, 1, 0)]


def test_stages_thaw_as_a_whole() -> None:
    plan = plan_of(RESNET, over="@stages")
    assert [phase.name for phase in plan.phases] == ["start", "stage 1", "stage 0"]
    last = [name for name in plan.phases[2].thawed if "stages.0" in name]
    assert len(last) == len(plan.phases[2].thawed) > 0


def test_lengths_and_schedules_apply_to_every_phase() -> None:
    plan = plan_of(BERT, tasks=1, steps=20, schedule={"warmup": 2})
    assert {(phase.length.unit, phase.length.count) for phase in plan.phases} == {("steps", 20)}
    assert [phase.schedule.stretch for phase in plan.phases] == list(range(6))


@pytest.mark.parametrize(
    ("config", "over", "code"),
    [
        (BERT, "@embeddings", "FP216"),
        (BERT, "encoder.layer", "FP216"),
        (BERT, "@layerz", "FP143"),
        (BERT, "nothing.@layers", "FP201"),
        ({**BERT, "model_type": "albert", "embedding_size": 8}, "@layers", "FP215"),
    ],
)  # fmt: skip
def test_what_cannot_be_thawed_step_by_step_is_refused_at_its_place(
    config: dict[str, Any], over: str, code: str
) -> None:
    with pytest.raises(DiagnosticError) as caught:
        plan_of(config, over=over)
    found = caught.value.diagnostics
    assert [item.code for item in found] == [code]
    assert found[0].where == "gradual.over[1]"


def test_a_pattern_of_then_that_hits_nothing_is_an_error() -> None:
    with pytest.raises(DiagnosticError) as caught:
        plan_of(BERT, tasks=1, then=["@embeddings", "embeddingz"])
    assert [(item.code, item.where) for item in caught.value.diagnostics] == [("FP201", "gradual.then[2]")]


def test_a_tied_tensor_thaws_under_all_its_names() -> None:
    config = {
        "model_type": "gpt2",
        "n_embd": 8,
        "n_layer": 2,
        "n_head": 2,
        "vocab_size": 20,
        "n_positions": 8,
    }
    values = {
        "model": {"config": config},
        "rule": [{"match": "**", "state": "frozen"}],
        "task": [{"name": "story", "kind": "causal_lm"}],
    }
    halves = load_spec(values | {"gradual": {"then": ["@embeddings"], "start": False, "epochs": 1}})
    with pytest.raises(DiagnosticError) as caught:
        compile_plan(inventory_for(halves), halves)
    assert [item.code for item in caught.value.diagnostics] == ["FP305"]
    assert "`then`" in (caught.value.diagnostics[0].help or "")
    whole = load_spec(values | {"gradual": {"then": ["@tied"], "start": False, "epochs": 1}})
    assert "backbone.wte.weight" in compile_plan(inventory_for(whole), whole).phases[-1].thawed
