"""Tasks over words, single texts and two texts train from one store as they do without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from freezeplan.cost.estimating import estimate_cost
from freezeplan.models.sources import inventory_for
from freezeplan.plan import compile_plan
from freezeplan.runs.events import ignore_events
from freezeplan.runs.run_folder import RunFolder
from freezeplan.spec.tables import Spec
from freezeplan.train.running import Running
from freezeplan.train.setup import prepare
from tests.train.phased import TOP
from tests.train.stored import Ran
from tests.train.targets import with_targets
from tests.train.test_execution_said import logged, shown
from tests.train.tiny import save_tiny_bert, toy_data, toy_rows, toy_spec, write_jsonl

LENGTH = 6
ROWS = 64


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder with the tiny model, and rows of which all texts have one length: no batch holds padding."""
    save_tiny_bert(tmp_path / "bert")
    rows = [with_targets(row) for row in toy_rows(500, seed=4) if len(row["text"].split()) == LENGTH]
    for row in rows:
        row["other"] = " ".join(reversed(row["text"].split()))
    parts = {"train": rows[:32], "validation": rows[32:48], "test": rows[48:ROWS]}
    for name, part in parts.items():
        write_jsonl(tmp_path / f"{name}.jsonl", part)
    return tmp_path


def tasks(place: Path) -> list[dict[str, Any]]:
    files = toy_data(place, "tags")
    words = {key: value for key, value in files.items() if key != "label"}
    return [
        {
            "name": "tags",
            "kind": "token_classification",
            "data": words | {"tokens": "tokens", "tags": "tags"},
        },
        {"name": "topic", "data": toy_data(place, "topic")},
        {
            "name": "alike",
            "kind": "similarity",
            "data": toy_data(place, "charge", text_pair="other"),
            "max_score": 2.0,
        },
        {
            "name": "compared",
            "kind": "similarity",
            "head": "compare",
            "data": toy_data(place, "charge", text_pair="other"),
            "max_score": 2.0,
        },
        {"name": "pair", "data": toy_data(place, "mood", text_pair="other")},
    ]


def spec_of(place: Path, phases: list[dict[str, Any]] | None = None, **train: Any) -> Spec:
    found = {"phase": phases} if phases else {}
    table = {"batch_size": 8, "mixing": "joint"} | ({} if phases else {"epochs": 3}) | train
    return toy_spec(place, task=tasks(place), optimizer={"lr": 1e-2}, train=table, **found)


PHASES = [{"name": "heads", "epochs": 2}, {"name": "top", "epochs": 2, "rule": [TOP]}]


@pytest.mark.parametrize("budget", ["1GiB", "1 B"])
def test_a_run_from_the_store_ends_in_the_same_bits(place: Path, tmp_path: Path, budget: str) -> None:
    stored = Ran(spec_of(place, PHASES, store="require", store_budget=budget), tmp_path / "stored")
    plain = Ran(spec_of(place, PHASES, store="off"), tmp_path / "plain")
    assert [text.split(",")[0] for text in stored.statements] == [
        "stored features of the whole backbone",
        "stored prefix k=1 of 2",
    ]
    assert all(("in `store/`" in text) is (budget == "1 B") for text in stored.statements)
    assert stored.equals(plain)


def test_tasks_over_the_words_and_the_text_of_one_row_share_its_entry(place: Path) -> None:
    run = Running(prepare(spec_of(place)), RunFolder(place / "run"), ignore_events)
    entries = run.execution.store.examples.entries
    assert (entries["train/tags"] == entries["train/topic"]).all()
    assert (entries["validation/alike"][:16] == entries["validation/topic"]).all()
    assert not set(entries["train/pair"]) & set(entries["train/topic"])


@pytest.mark.parametrize("epochs", [1, 2])
def test_what_is_shown_of_them_is_what_the_log_says(place: Path, tmp_path: Path, epochs: int) -> None:
    spec = spec_of(place, epochs=epochs)
    assert shown(spec) == logged(spec, tmp_path / "run")


def test_the_store_takes_no_more_than_its_price(place: Path) -> None:
    spec = spec_of(place)
    run = Running(prepare(spec), RunFolder(place / "run"), ignore_events)
    run.enter_phase()
    run.ledger.begin_phase(0)
    run.choose_execution()
    plan = compile_plan(inventory_for(spec), spec)
    priced = estimate_cost(spec, plan, 8, LENGTH + 2).phases[0].store
    assert priced is not None and priced.prefix == plan.phases[0].frozen_prefix
    assert priced.nbytes // 2 < run.execution.store.nbytes <= priced.nbytes
