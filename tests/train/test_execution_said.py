"""What ``show`` says of the frozen prefix before a run is what the log of the run says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freezeplan.cost.estimating import estimate_cost
from freezeplan.cost.store_rows import counted_rows
from freezeplan.models.sources import inventory_for
from freezeplan.plan import compile_plan
from freezeplan.plan.storing import store_statements
from freezeplan.runs.events import Event, ExecutionChosen
from freezeplan.runs.run_folder import RunFolder
from freezeplan.spec.tables import Spec
from freezeplan.train.running import Running
from freezeplan.train.setup import prepare
from tests.train.tiny import toy_data, toy_spec

BASE = {"name": "base", "match": "**", "state": "trainable"}
# The backbone in two parts: how many of them are frozen, from below, makes the prefix of a phase.
PARTS = (["@embeddings", "@layers[:1]"], ["@layers[1:]", "@pooler"])


def rules(frozen: int, before: int) -> list[dict[str, Any]]:
    """Return what a phase changes that freezes so many parts, after one that froze ``before``."""
    states = {number: "frozen" for number in range(before, frozen)}
    states |= {number: "trainable" for number in range(frozen, before)}
    return [{"match": PARTS[number], "state": state} for number, state in states.items()]


def lengths() -> st.SearchStrategy[dict[str, Any]]:
    steps = st.integers(1, 14).map(lambda count: {"steps": count})
    return steps | st.integers(1, 3).map(lambda count: {"epochs": count})


def phases(frozen: list[int], lengths: list[dict[str, Any]]) -> list[dict[str, Any]]:
    pairs = zip(frozen, [0, *frozen], lengths, strict=False)
    return [{"name": str(n), **length, "rule": rules(*pair)} for n, (*pair, length) in enumerate(pairs)]


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """Draw phases, sizes of batches, mixing, and which splits the tasks have."""
    frozen = draw(st.lists(st.integers(0, len(PARTS)), min_size=1, max_size=3))
    found = phases(frozen, [draw(lengths()) for _ in frozen])
    train = {
        "batch_size": draw(st.sampled_from([8, 16, 96])),
        "accumulation": draw(st.sampled_from([1, 2])),
        "mixing": draw(st.sampled_from(["alternate", "joint"])),
        "store": draw(st.sampled_from(["auto", "auto", "off"])),
    }
    names = draw(st.sampled_from([["topic"], ["topic", "mood"]]))
    return {"phase": found, "train": train, "tasks": names, "validation": draw(st.booleans())}


def spec_of(toy: Path, found: dict[str, Any]) -> Spec:
    tasks = []
    for name in found["tasks"]:
        data = toy_data(toy, name)
        if not found["validation"]:
            data = {key: value for key, value in data.items() if key not in ("validation", "test")}
        tasks.append({"name": name, "data": data})
    return toy_spec(
        toy,
        rule=[BASE],
        phase=found["phase"],
        train=found["train"],
        task=tasks,
    )


def shown(spec: Spec) -> list[str]:
    plan = compile_plan(inventory_for(spec), spec)
    return list(store_statements(spec, plan, counted_rows(spec, plan)))


def logged(spec: Spec, folder: Path) -> list[str]:
    """Enter every phase as a run does; return what is logged, without the bytes of the store."""
    events: list[Event] = []
    run = Running(prepare(spec), RunFolder(folder), events.append)
    for index in range(len(run.setup.phases)):
        run.position.phase = index
        run.enter_phase()
        run.ledger.begin_phase(index)
        run.choose_execution()
    run.execution.close()
    said = [event.statement for event in events if isinstance(event, ExecutionChosen)]
    return [text.partition(", ")[0] if text.startswith("stored") else text for text in said]


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=tables())
def test_what_is_shown_is_what_the_log_says(toy: Path, tmp_path: Path, found: dict[str, Any]) -> None:
    spec = spec_of(toy, found)
    assert shown(spec) == logged(spec, tmp_path / "run")


@pytest.mark.parametrize(("epochs", "stored"), [(1, False), (2, True)])
def test_plan_cost_and_trainer_have_one_prefix_and_one_verdict(
    toy: Path, tmp_path: Path, epochs: int, stored: bool
) -> None:
    one = {"phase": phases([1], [{"epochs": epochs}]), "train": {}, "tasks": ["topic"], "validation": False}
    spec = spec_of(toy, one)
    plan = compile_plan(inventory_for(spec), spec)
    cost, (said,) = estimate_cost(spec, plan, 2, 8).phases[0], shown(spec)
    assert [said] == logged(spec, tmp_path / "run")
    assert said == (cost.store.prefix.statement if cost.store else f"no store: {cost.no_store}")
    assert (cost.store is not None) is stored
    if cost.store is not None:
        assert cost.store.prefix == plan.phases[0].frozen_prefix
