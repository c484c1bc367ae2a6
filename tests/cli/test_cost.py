"""``freezeplan show --cost``: what it adds to the table and to the JSON, and what it refuses."""

from __future__ import annotations

import json

import pytest

from freezeplan.cost import estimating
from freezeplan.diagnostics.wording import format_bytes

TINY = """
[model.config]
model_type = "bert"
vocab_size = 50
hidden_size = 16
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 32
max_position_embeddings = 64

[[rule]]
name = "body"
match = "backbone"
state = "frozen"

[[rule]]
match = "heads"
state = "trainable"

[[task]]
name = "topic"
labels = ["no", "yes"]
"""


@pytest.fixture
def desk(room):
    room.write("tiny.toml", TINY)
    return room


def test_the_cost_stands_below_the_plan_and_in_the_json(desk):
    table = desk.run("show", "tiny.toml", "--cost", "--batch-size", "4", "--length", "8")
    plain = desk.run("show", "tiny.toml")
    assert table.status == 0 and table.out.startswith(plain.out)
    assert "cost of batches of 4, texts of 8 tokens" in table.out
    found = desk.run(
        "show", "tiny.toml", "--cost", "--batch-size", "4", "--format", "json", "--out", "plan.json"
    )
    record = json.loads(found.out)
    assert (desk.path / "plan.json").read_bytes() == found.stdout
    assert (record["cost"]["batch_size"], record["cost"]["length"]) == (4, 64)
    assert record["cost"]["phases"][0]["store"]["pooled"] is True
    without = json.loads(desk.run("show", "tiny.toml", "--format", "json").out)
    assert {key: value for key, value in record.items() if key != "cost"} == without


def test_a_budget_speaks_of_the_batch_whose_cost_is_shown_and_works_it_out_once(desk, monkeypatch):
    costs, estimate = [], estimating.estimate_cost
    monkeypatch.setattr(estimating, "estimate_cost", lambda *of: costs.append(estimate(*of)) or costs[-1])
    done = desk.run(
        "show", "tiny.toml", "--cost", "--batch-size", "4", "--budget", "1GiB", "--format", "json"
    )
    assert [cost.batch_size for cost in costs] == [4]
    peak = format_bytes(max(phase.memory.highest for phase in costs[0].phases))
    text = f"a training step of this plan takes {peak}: it fits into 1.0 GiB"
    assert [item["text"] for item in json.loads(done.out)["measured"]] == [text]


def test_sizes_without_the_cost_are_wrong_usage(desk):
    done = desk.run("show", "tiny.toml", "--batch-size", "4")
    assert done.status == 2 and "add it" in done.err and done.out == ""
    assert desk.run("show", "tiny.toml", "--cost", "--length", "0").status == 2


def test_what_cannot_be_worked_out_is_a_diagnostic_and_prints_no_plan(desk):
    done = desk.run("show", "good.toml", "--cost")
    assert (done.status, done.stdout) == (1, b"") and "error[FP480]" in done.err
    done = desk.run("show", "tiny.toml", "--cost", "--length", "65")
    assert done.status == 1 and "error[FP481]" in done.err and "64 tokens at most" in done.err


def test_batches_that_fit_stand_below_the_plan_and_in_the_json(desk):
    table = desk.run("show", "tiny.toml", "--fit", "1MiB", "--length", "8")
    assert table.status == 0 and "batches that fit into 1.0 MiB, texts of 8 tokens" in table.out
    record = json.loads(
        desk.run("show", "tiny.toml", "--fit", "1MiB", "--length", "8", "--format", "json").out
    )
    (phase,) = record["fit"]["phases"]
    assert phase["peak"] <= 1 << 20 < phase["beyond"] and record["fit"]["batch_size"] == phase["rows"]
    assert f"batches of {phase['rows']:,}: peak" in table.out


def test_an_odd_budget_is_wrong_usage_and_a_small_one_a_diagnostic(desk):
    done = desk.run("show", "tiny.toml", "--fit", "lots")
    assert done.status == 2 and "no amount of memory" in done.err
    done = desk.run("show", "tiny.toml", "--fit", "10kB")
    assert done.status == 1 and "error[FP489]" in done.err and done.out == ""


def test_processes_share_the_cost_and_are_nothing_without_it(desk):
    done = desk.run("show", "tiny.toml", "--cost", "--processes", "2", "--length", "8")
    assert "texts of 8 tokens, on each of 2 processes (replicate)" in done.out and "16 of a batch" in done.out
    assert desk.run("show", "tiny.toml", "--processes", "2").status == 2
    assert desk.run("show", "tiny.toml", "--cost", "--processes", "1025").status == 2
