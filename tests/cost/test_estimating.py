"""From a spec to its cost: what the sizes are by default, what the rows are, what is refused and why."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from freezeplan.cost.estimating import estimate_cost
from freezeplan.cost.records import Cost
from freezeplan.data.row_counts import STAND_IN, rows_of
from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.sources import inventory_for
from freezeplan.plan import compile_plan
from freezeplan.plan.records import FrozenPrefix
from freezeplan.spec.tables import Spec

SIZES = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 3}
BERT = {"model_type": "bert", "vocab_size": 50, "max_position_embeddings": 64, **SIZES}
VIT = {"model_type": "vit", "image_size": 16, "patch_size": 8, "num_channels": 1, **SIZES}
EVERYTHING = [{"name": "all", "match": "**", "state": "trainable"}]
LOWER = [*EVERYTHING, {"match": ["@embeddings", "@layers[:2]"], "state": "frozen"}]
BACKBONE = [*EVERYTHING, {"match": "@backbone", "state": "frozen"}]
TASKS = [{"name": name, "labels": ["no", "yes"]} for name in ("topic", "mood")]


def spec_of(config: dict[str, Any] = BERT, **tables: Any) -> Spec:
    values = {"model": {"config": config}, "rule": EVERYTHING, "task": TASKS}
    return Spec.model_validate({key: value for key, value in (values | tables).items() if value is not None})


def cost_of(spec: Spec, *sizes: int | None) -> Cost:
    return estimate_cost(spec, compile_plan(inventory_for(spec), spec), *sizes)


def plan_prefix(rules: list[dict[str, Any]]) -> FrozenPrefix:
    spec = spec_of(rule=rules)
    return compile_plan(inventory_for(spec), spec).phases[0].frozen_prefix


def codes_of(spec: Spec, *sizes: int | None) -> list[tuple[str, str]]:
    with pytest.raises(DiagnosticError) as caught:
        cost_of(spec, *sizes)
    return [(item.code, item.message) for item in caught.value.diagnostics]


def test_the_sizes_are_the_spec_s_then_the_model_s() -> None:
    assert cost_of(spec_of()).length == 64
    written = spec_of(train={"batch_size": 3, "max_length": 20})
    assert (cost_of(written).batch_size, cost_of(written).length) == (3, 20)
    assert (cost_of(written, 5, 7).batch_size, cost_of(written, 5, 7).length) == (5, 7)
    assert cost_of(written, 5, 7).phases[0].step.forward < cost_of(written, 5, 20).phases[0].step.forward


def test_weights_and_state_are_those_of_the_plan() -> None:
    for rules in (EVERYTHING, LOWER, BACKBONE):
        spec = spec_of(rule=rules)
        plan = compile_plan(inventory_for(spec), spec)
        memory = estimate_cost(spec, plan, 2, 8).phases[0].memory
        parameters = 4 * sum(param.numel for param in plan.params)
        # Positions, token types and the like: buffers of 64 whole numbers.
        assert 0 <= memory.weights - parameters <= 3 * 64 * 8
        # The pooler trains in the plan, but no task reads it: it gets no gradient, hence no state.
        pooler = [param for param in plan.params if "pooler" in param.name]
        unread = sum(2 * 4 * param.numel + 4 for param in pooler) if rules is not BACKBONE else 0
        assert memory.optimizer_state == plan.phases[0].optimizer_state_bytes - unread


def test_the_more_is_frozen_the_less_it_needs() -> None:
    found = [cost_of(spec_of(rule=rules), 4, 32).phases[0] for rules in (EVERYTHING, LOWER, BACKBONE)]
    for key in ("gradients", "optimizer_state", "saved", "peak"):
        sizes = [getattr(phase.memory, key) for phase in found]
        assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 3, key
    assert len({phase.step.forward for phase in found}) == 1
    assert found[0].step.backward > found[1].step.backward > found[2].step.backward


def test_the_store_holds_the_boundary_of_the_frozen_prefix() -> None:
    lower = cost_of(spec_of(rule=LOWER), 4, 32).phases[0]
    assert (
        lower.store is not None
        and lower.store.prefix == plan_prefix(LOWER)
        and lower.store.prefix.layers == 2
    )
    assert lower.store.row_bytes == 32 * 16 * 4 and lower.store.nbytes == STAND_IN * lower.store.row_bytes
    # Both tasks run two of three equal layers per row and epoch without a store.
    assert lower.epoch - lower.store.epoch == 2 * lower.store.build
    whole = cost_of(spec_of(rule=BACKBONE), 4, 32).phases[0]
    assert (
        whole.store is not None
        and whole.store.prefix == plan_prefix(BACKBONE)
        and whole.store.row_bytes == 16 * 4
    )
    assert whole.store.build * 2 + whole.store.epoch == whole.epoch
    nothing = cost_of(spec_of(), 4, 32).phases[0]
    assert nothing.store is None and nothing.no_store.startswith("the first layer trains")


def test_every_phase_has_its_own_cost_and_keeps_the_state_that_the_plan_keeps() -> None:
    top = {"match": "@layers[-1:]", "name": "top", "state": "trainable"}
    phases = [
        {"name": "heads", "epochs": 1},
        {"name": "top", "epochs": 1, "rule": [top]},
        {"name": "again", "epochs": 1, "rule": [{**top, "state": "frozen"}]},
        {"name": "kept", "epochs": 1, "on_thaw": "keep", "rule": [top]},
    ]
    spec = spec_of(rule=BACKBONE, phase=phases)
    plan = compile_plan(inventory_for(spec), spec)
    found = estimate_cost(spec, plan, 2, 8).phases
    assert [phase.name for phase in found] == ["heads", "top", "again", "kept"]
    states = [phase.memory.optimizer_state for phase in found]
    assert states == [phase.optimizer_state_bytes for phase in plan.phases]
    assert states[0] < states[1] == states[2] and found[0].memory.gradients == found[2].memory.gradients


def test_with_everything_frozen_the_phase_only_evaluates() -> None:
    phase = cost_of(spec_of(rule=[{"match": "**", "state": "frozen"}]), 2, 8).phases[0]
    assert phase.learning == () and phase.step.backward == 0
    assert (phase.memory.gradients, phase.memory.optimizer_state, phase.memory.saved) == (0, 0, 0)
    assert phase.store is None and phase.no_store.startswith("nothing trains")


def test_images_come_in_the_size_of_the_config() -> None:
    cost = cost_of(spec_of(VIT, rule=LOWER), 2)
    assert (cost.length, cost.inputs) == (None, "images of 1 x 16 x 16")
    assert cost.phases[0].store is not None and cost.phases[0].store.row_bytes == (4 + 1) * 16 * 4


def test_a_spec_without_tasks_uses_the_model_s_own_output() -> None:
    spec = spec_of(model={"config": BERT, "class": "BertForMaskedLM"}, task=None)
    cost = cost_of(spec, 2, 8)
    assert cost.phases[0].learning == ("BertForMaskedLM",) and not cost.rows_known
    assert any("first floating-point output" in text for text in cost.assumptions)


def test_an_encoder_decoder_without_tasks_gets_both_inputs() -> None:
    config = {
        "model_type": "t5",
        "d_model": 16,
        "d_kv": 8,
        "d_ff": 32,
        "num_layers": 2,
        "num_heads": 2,
        "vocab_size": 50,
    }
    spec = spec_of(model={"config": config, "class": "T5ForConditionalGeneration"}, task=None)
    assert cost_of(spec, 2, 8).phases[0].step.backward > 0


def test_other_inputs_are_refused_by_name() -> None:
    spec = spec_of({"model_type": "wav2vec2"})
    assert codes_of(spec) == [("FP480", "`Wav2Vec2Model` reads `input_values`: neither texts nor images")]


def test_a_model_that_reads_its_own_numbers_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers import BertModel

    forward = BertModel.forward
    monkeypatch.setattr(
        BertModel,
        "forward",
        lambda self, input_ids, **rest: forward(self, input_ids[: int(input_ids[0, 0])], **rest),
    )
    ((code, message),) = codes_of(spec_of(), 2, 8)
    assert code == "FP480" and message.startswith("`BertModel` cannot run on tensors without values: ")
    assert "_local_scalar_dense" in message


def test_a_kernel_that_refuses_fake_tensors_is_named_and_nothing_else_is_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    config = {
        "model_type": "mixtral",
        "vocab_size": 50,
        "num_key_value_heads": 2,
        "num_local_experts": 2,
        **SIZES,
    }
    ((code, message),) = codes_of(spec_of(config), 2, 8)
    assert code == "FP480" and message.startswith("`MixtralModel` cannot run on tensors without values: ")
    assert capfd.readouterr().err == ""


def test_a_file_of_tensors_is_refused(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"layer.weight": torch.zeros(2)}, tmp_path / "w.safetensors")
    spec = spec_of(model={"source": str(tmp_path / "w.safetensors")}, task=None)
    ((code, message),) = codes_of(spec)
    assert code == "FP480" and "without a config there is no model to run" in message


def test_impossible_lengths_are_refused() -> None:
    assert codes_of(spec_of(), 2, 65) == [("FP481", "texts of 65 tokens are longer than the model takes")]
    assert codes_of(spec_of(VIT), 2, 8) == [
        ("FP481", "`ViTModel` reads images, which have no length in tokens")
    ]


def write(path: Path, rows: int) -> str:
    path.write_text(
        "".join(json.dumps({"text": "a", "label": str(n % 2), "mood": "b"}) + "\n" for n in range(rows))
    )
    return str(path)


def tasks_over(*files: str, column: str = "text") -> list[dict[str, Any]]:
    tables = [{"train": files[0]}, {"train": files[-1], "text": column}]
    return [{**task, "data": table} for task, table in zip(TASKS, tables, strict=True)]


def test_an_epoch_is_as_long_as_the_longest_task_and_shared_texts_are_stored_once(tmp_path: Path) -> None:
    long, short = write(tmp_path / "long.jsonl", 30), write(tmp_path / "short.jsonl", 10)
    apart, shared = rows_of(spec_of(task=tasks_over(long, short))), rows_of(spec_of(task=tasks_over(long)))
    names = ("topic", "mood")
    assert apart.each(names) == {"topic": 30, "mood": 10} and shared.each(names) == {"topic": 30, "mood": 30}
    for tasks, stored in (((long, short), 40), ((long,), 30)):
        cost = cost_of(spec_of(rule=LOWER, task=tasks_over(*tasks), train={"epochs": 3}), 2, 8)
        assert cost.phases[0].store is not None and cost.phases[0].store.rows == stored
    cost = cost_of(spec_of(rule=LOWER, task=tasks_over(long)), 2, 8)
    assert (cost.phases[0].rows, cost.rows_known) == ({"topic": 30, "mood": 30}, True)
    assert cost.phases[0].epoch == 30 * cost.phases[0].step.total // 2 * 2


def test_rows_that_cannot_be_counted_stand_for_a_thousand(tmp_path: Path) -> None:
    long = write(tmp_path / "long.jsonl", 30)
    (tmp_path / "bad.jsonl").write_text("no json\n")
    for other in ("absent.jsonl", str(tmp_path / "bad.jsonl")):
        rows = rows_of(spec_of(task=tasks_over(long, other)))
        assert not rows.known(("topic", "mood")) and rows.known(("topic",))
        assert rows.each(("topic", "mood")) == {"topic": STAND_IN, "mood": STAND_IN}


def test_evaluation_is_counted_where_there_is_something_to_evaluate(tmp_path: Path) -> None:
    data = {"train": write(tmp_path / "a.jsonl", 4), "validation": write(tmp_path / "b.jsonl", 4)}
    with_it, without = ([{**TASKS[0], "data": table}] for table in (data, {"train": data["train"]}))
    memory = (
        cost_of(spec_of(rule=BACKBONE, task=with_it, train={"eval_batch_size": 64}), 2, 8).phases[0].memory
    )
    assert memory.evaluation is not None and memory.highest == memory.evaluation > memory.peak
    assert cost_of(spec_of(rule=BACKBONE, task=without), 2, 8).phases[0].memory.evaluation is None


def test_the_record_is_plain_and_holds_every_number() -> None:
    cost = cost_of(spec_of(rule=LOWER), 2, 8)
    record = json.loads(json.dumps(cost.to_record()))
    phase = record["phases"][0]
    assert (
        record["batch_size"] == 2
        and record["length"] == 8
        and record["allocator_margin"]["largest"] > record["allocator_margin"]["usual"] > 1
    )
    assert phase["bytes"]["peak"] == cost.phases[0].memory.peak
    assert phase["flops_per_step"]["total"] == cost.phases[0].step.total
    assert phase["store"]["bytes"] == cost.phases[0].store.nbytes  # type: ignore[union-attr]
    assert replace(cost, phases=()).to_record()["phases"] == []


def test_a_row_is_stored_as_its_task_reads_it(tmp_path: Path) -> None:
    rows = [
        {
            "text": f"a {n}",
            "other": "b",
            "tokens": ["a", "b"],
            "tags": ["x", "y"],
            "label": str(n % 2),
            "score": n / 9,
        }
        for n in range(10)
    ]
    files = {}
    for split, count in (("train", 10), ("validation", 4)):
        files[split] = str(tmp_path / f"{split}.jsonl")
        Path(files[split]).write_text("".join(json.dumps(row) + "\n" for row in rows[:count]))
    words = {
        "name": "tags",
        "kind": "token_classification",
        "data": files | {"tokens": "tokens", "tags": "tags"},
    }
    topic = {"name": "topic", "data": files | {"label": "label"}}
    alike = {"name": "alike", "kind": "similarity", "data": files | {"text_pair": "other", "label": "score"}}
    length, vector = 8, 16 * 4
    expected = {
        # Of a frozen backbone: a state for each token, a pooled vector for each text; the cosine learns nothing.
        (("tags",), "whole"): (14, 14 * length * vector),
        (("tags", "topic"), "whole"): (28, 14 * length * vector + 14 * vector),
        (("topic", "alike"), "whole"): (18, 14 * vector + 2 * 4 * vector),
        # Of lower layers: all states of both texts of a row.
        (("topic", "alike"), "lower"): (28, 14 * length * vector + 2 * 14 * length * vector),
        (("alike", "topic"), "lower"): (28, 14 * length * vector + 2 * 14 * length * vector),
    }
    tasks = {"tags": words, "topic": topic, "alike": alike}
    for (names, frozen), (count, size) in expected.items():
        rules = BACKBONE if frozen == "whole" else LOWER
        spec = spec_of(rule=rules, task=[tasks[name] for name in names], train={"epochs": 4})
        phase = cost_of(spec, 2, length).phases[0]
        assert phase.store is not None and (phase.store.rows, phase.store.nbytes) == (count, size), names
        assert 0 <= phase.store.epoch < phase.epoch and phase.store.build > 0
