"""What a run is, below the table and below the matrix: tasks, a step, the schedule; the JSON has the same."""

from __future__ import annotations

from typing import Any

import pytest

from freezeplan.plan.compiling import compile_plan
from freezeplan.plan.records import Plan
from freezeplan.render.matrix import MatrixView
from freezeplan.render.table import PlanView
from freezeplan.render.training import task_facts, training_facts, training_record
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec
from tests.plan.matching import named, rule
from tests.render.drawing import drawn

MODEL = named("backbone.emb.weight", "heads.a.w", "heads.b.w")
TASK_A = {"name": "a", "labels": ["x", "y"]}
TASK_B = {
    "name": "b",
    "labels": ["x", "y", "z"],
    "weight": 0.5,
    "data": {"train": "t.jsonl", "image": "pixels"},
}


def read(*tasks: dict[str, Any], **tables: Any) -> tuple[Spec, Plan]:
    """Compile a spec with tasks whose backbone is frozen."""
    rules = [rule("**", "frozen"), rule("heads", "trainable")]
    spec = load_spec({"rule": rules, "task": list(tasks), **tables})
    return spec, compile_plan(MODEL, spec)


def facts(*tasks: dict[str, Any], **tables: Any) -> list[tuple[str, str]]:
    spec, plan = read(*tasks, **tables)
    record = training_record(spec, plan)
    return [*task_facts(record), *training_facts(record, plan)]


def test_every_task_has_a_line_with_its_kind_labels_and_loss_weight() -> None:
    (_, one), (label, other), _ = facts(TASK_A, TASK_B)
    width = MODEL.params[1].shape[0]
    assert one == f"a: classification of texts, {width} labels, loss weight 1"
    assert (label, other) == ("", f"b: classification of images, {width} labels, loss weight 0.5")
    assert facts(TASK_A)[0] == ("task", f"a: classification of texts, {width} labels")
    assert facts({**TASK_A, "weight": 2.0})[0][1].endswith("labels, loss weight 2")


def test_a_line_says_that_rows_are_streamed_and_how_long_an_epoch_of_them_is() -> None:
    data = {"train": "t.jsonl", "stream": True, "steps_per_epoch": 1}
    (_, line), *_ = facts({**TASK_A, "data": data})
    assert line.endswith("labels, streamed: 1 step an epoch, shuffled 10,000 rows at a time")


ALTERNATE = "one task per step, in turn (alternate)"
JOINT = "a batch of each task per step, losses summed (joint)"


@pytest.mark.parametrize(
    ("train", "line"),
    [
        ({}, f"3 epochs, batches of 32, {ALTERNATE}"),
        ({"epochs": 1, "mixing": "joint"}, f"1 epoch, batches of 32, {JOINT}"),
        ({"precision": "bf16"}, f"3 epochs, batches of 32, computed in bf16, {ALTERNATE}"),
        (
            {"batch_size": 1024, "accumulation": 4},
            f"3 epochs, batches of 1,024, 4 of them per step (4,096 rows), {ALTERNATE}",
        ),
    ],
)
def test_a_line_says_how_long_the_run_is_and_what_a_step_takes(train: dict[str, Any], line: str) -> None:
    assert facts(TASK_A, TASK_B, train=train)[-1] == ("training", line)


def test_with_phases_the_length_is_theirs() -> None:
    phases = [{"epochs": 2}, {"steps": 5, "rule": [rule("backbone", "trainable")]}]
    spec, plan = read(TASK_A, phase=phases)
    record = training_record(spec, plan)
    assert record["training"]["epochs"] is None
    assert ("training", "batches of 32") in list(training_facts(record, plan))


def test_a_spec_without_tasks_says_nothing_of_a_trainer() -> None:
    spec, plan = read()
    record = training_record(spec, plan)
    assert record == {"tasks": [], "training": None}
    assert [*task_facts(record), *training_facts(record, plan)] == []


def test_the_record_holds_the_whole_table_that_shapes_a_run() -> None:
    spec, plan = read(TASK_A, TASK_B, train={"seed": 7, "keep_best": "a/accuracy"})
    record = training_record(spec, plan)
    assert set(record["training"]) == {*type(spec.train).model_fields, "steps_per_epoch"}
    assert (record["training"]["seed"], record["training"]["keep_best"]) == (7, "a/accuracy")
    assert [task["loss_weight"] for task in record["tasks"]] == [1.0, 0.5]


def test_table_and_matrix_have_one_summary() -> None:
    schedule = {"name": "cosine", "warmup": 10}
    spec, plan = read(TASK_A, TASK_B, schedule=schedule)
    single = labels_below(drawn(PlanView(plan, training=training_record(spec, plan), execution=["stored"])))
    phases = [{"epochs": 2}, {"steps": 5, "rule": [rule("backbone", "trainable")]}]
    spec, plan = read(TASK_A, TASK_B, schedule=schedule, phase=phases)
    several = labels_below(
        drawn(MatrixView(plan, training=training_record(spec, plan), execution=["stored", "not stored"]))
    )
    common = ["model", "tasks", "training", "schedule", "trainable", "coverage", "optimizer"]
    assert single[:7] == several[:7] == common and single[-1] == several[-1] == "execution"
    assert "schedule   cosine, warm-up 10 steps\n" in drawn(MatrixView(plan))


def labels_below(text: str) -> list[str]:
    """Return the labels of the summary, the last block of what is shown."""
    lines = text.rstrip().split("\n\n")[-1].splitlines()
    return [line.split("  ")[0] for line in lines if not line.startswith(" ")]
