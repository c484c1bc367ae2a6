"""The trainer's use of the store: the same results as without it, what it says, and every way it can go wrong."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch.nn.functional import cross_entropy

from freezeplan.diagnostics import DiagnosticError
from freezeplan.diagnostics.wording import format_bytes
from freezeplan.prefix.files import FileWriter
from freezeplan.runs.events import Event, ExecutionChosen, StepDone, StoreProgress
from freezeplan.runs.run_folder import RunFolder
from freezeplan.spec.tables import Spec, Task
from freezeplan.train.evaluation import evaluate
from freezeplan.train.forward import Forward
from freezeplan.train.resume import resume
from freezeplan.train.run import train
from freezeplan.train.session import Session
from freezeplan.train.setup import prepare
from tests.prefix.architectures import ARCHITECTURES, TEXT, Architecture
from tests.train.phased import assert_same_tree
from tests.train.stored import (
    ALL,
    HEADS,
    TWO_STACKS,
    Ran,
    pad_to_one_width,
    save_architecture,
    stored_spec,
    thawing,
)
from tests.train.tiny import toy_data

TEXTS = [row for row in ARCHITECTURES if row.reads == TEXT and row.core and row.refuses is None]
FAST = ("bert", "deberta-v2", "t5")
ROWS = [pytest.param(row, id=row.label, marks=() if row.label in FAST else pytest.mark.slow) for row in TEXTS]


def runs(toy: Path, folder: Path, architecture: Architecture, **more: str) -> tuple[Ran, Ran]:
    """Return a run that thaws a model from the top with the store, and the same without."""
    model = save_architecture(folder / "model", architecture)
    phases = thawing("encoder." if architecture.label in TWO_STACKS else "")
    stored, plain = (
        Ran(stored_spec(toy, model, phases, store=store, **more), folder / store)
        for store in ("require", "off")
    )
    return stored, plain


@pytest.mark.parametrize("mixing", ["alternate", "joint"])
@pytest.mark.parametrize("architecture", ROWS)
def test_with_one_width_a_run_from_the_store_ends_in_the_same_bits(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: Architecture, mixing: str
) -> None:
    pad_to_one_width(monkeypatch)
    stored, plain = runs(toy, tmp_path, architecture, mixing=mixing)
    assert [text.split(",")[0] for text in stored.statements] == [
        "stored features of the whole backbone",
        "stored prefix k=3 of 4",
        "stored prefix k=2 of 4",
    ]
    assert plain.statements == ['no store: train.store = "off"'] * 3
    assert stored.equals(plain) or (not architecture.exact and stored.distance(plain) <= 1e-5)


@pytest.mark.parametrize("architecture", ROWS)
def test_with_length_buckets_results_agree_to_1e_5(
    toy: Path, tmp_path: Path, architecture: Architecture
) -> None:
    stored, plain = runs(toy, tmp_path, architecture)
    assert stored.distance(plain) <= 1e-5


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny BERT of four layers."""
    row = next(row for row in ARCHITECTURES if row.label == "bert")
    return save_architecture(tmp_path_factory.mktemp("bert") / "model", row)


def built(events: list[Event]) -> int:
    """Count the passes over the inputs that a run's events tell of."""
    return sum(event.done == event.inputs for event in events if isinstance(event, StoreProgress))


def test_one_pass_serves_all_phases_and_its_evidence_says_so(toy: Path, bert: Path, tmp_path: Path) -> None:
    ran = Ran(stored_spec(toy, bert), tmp_path / "run")
    assert built(ran.events) == 1
    first = next(event for event in ran.events if isinstance(event, StoreProgress))
    assert first.inputs == 96 + 24, "tasks share texts, and validation texts are stored too"
    tokens = 4 * 16 * (sum(tokens_of(toy, "train")) + sum(tokens_of(toy, "validation")) + 1)
    assert ran.statements == [
        f"stored features of the whole backbone, {format_bytes(4 * 16 * 121)} in memory",
        f"stored prefix k=3 of 4, {format_bytes(tokens)} in memory",
        f"stored prefix k=2 of 4, {format_bytes(tokens)} in memory",
    ]
    evidence = json.loads((tmp_path / "run" / "evidence.json").read_text("utf-8"))
    assert [phase["execution"] for phase in evidence["phases"]] == ran.statements
    record = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))
    assert record["execution"] == dict(zip(("heads", "top", "half"), ran.statements, strict=True))


def tokens_of(toy: Path, split: str) -> list[int]:
    lines = (toy / f"{split}.jsonl").read_text("utf-8").splitlines()
    return [len(json.loads(line)["text"].split()) + 2 for line in lines]


def test_what_thaws_and_freezes_again_is_stored_anew(toy: Path, bert: Path, tmp_path: Path) -> None:
    phases = [
        {"name": "heads", "epochs": 1},
        {"name": "all", "epochs": 1, "rule": ALL},
        {"name": "again", "epochs": 2, "rule": HEADS},
    ]
    stored, plain = (
        Ran(stored_spec(toy, bert, phases, store=store), tmp_path / store) for store in ("auto", "off")
    )
    assert built(stored.events) == 2
    assert [text.split(",")[0] for text in stored.statements] == [
        "stored features of the whole backbone",
        "no store: nothing is frozen below the first trainable tensor",
        "stored features of the whole backbone",
    ]
    assert plain.statements[1] == stored.statements[1]
    assert stored.distance(plain) <= 1e-5


def test_inputs_that_run_once_are_not_stored(toy: Path, bert: Path, tmp_path: Path) -> None:
    task = [{"name": "topic", "data": toy_data(toy, "topic")}]
    once, twice = (
        Ran(
            stored_spec(toy, bert, [], epochs=epochs).model_copy(update={"task": spec_tasks(task)}),
            tmp_path / str(epochs),
        )
        for epochs in (1, 2)
    )
    assert once.statements == ["no store: its inputs run too few times (1.0 times, and it pays from 1.5 on)"]
    assert twice.statements[0].startswith("stored features")


def spec_tasks(tables: list[dict[str, Any]]) -> list[Task]:
    return [Task.model_validate(table) for table in tables]


@pytest.mark.parametrize("name", ["albert", "squeezebert"])
def test_what_cannot_be_stored_trains_without_and_says_why_or_is_refused(
    toy: Path, tmp_path: Path, name: str
) -> None:
    row = next(row for row in ARCHITECTURES if row.label == name)
    model = save_architecture(tmp_path / "model", row)
    upper = [{"match": "backbone.encoder", "state": "trainable"}]
    phases = [{"name": "upper", "epochs": 2, "rule": upper}]
    ran = Ran(stored_spec(toy, model, phases), tmp_path / "auto")
    assert ran.statements[0].startswith("no store: ")
    with pytest.raises(DiagnosticError) as caught:
        train(stored_spec(toy, model, phases, store="require"), tmp_path / "require")
    (problem,) = caught.value.diagnostics
    assert problem.code == "FP485" and ran.statements[0].removeprefix("no store: ") in problem.message
    assert not (tmp_path / "require").exists()


def test_a_budget_too_small_puts_the_store_into_files_that_are_gone_at_the_end(
    toy: Path, bert: Path, tmp_path: Path
) -> None:
    seen: set[str] = set()

    def look(event: Event) -> None:
        seen.update(item.name for item in (tmp_path / "run").glob("store/*"))

    train(stored_spec(toy, bert, store_budget="10 kB"), tmp_path / "run", look)
    assert {"pooled.bin", "k3.bin", "k2.bin"} - seen == {"pooled.bin"}
    assert not (tmp_path / "run" / "store").exists()
    ran = Ran(stored_spec(toy, bert, store_budget="1 B"), tmp_path / "files")
    memory = Ran(stored_spec(toy, bert), tmp_path / "memory")
    assert ran.equals(memory)
    assert [text.rpartition(" ")[2] for text in ran.statements] == ["`store/`"] * 3


def test_a_disk_without_space_is_said_and_nothing_is_left(
    toy: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freezeplan.prefix.store.free_bytes", lambda folder: 10)
    ran = Ran(stored_spec(toy, bert, store_budget="1 B"), tmp_path / "auto")
    assert all(text.startswith("no store: the budget is too small (") for text in ran.statements)
    assert "10 B free" in ran.statements[0]
    with pytest.raises(DiagnosticError) as caught:
        train(stored_spec(toy, bert, store="require", store_budget="1 B"), tmp_path / "require")
    assert [item.code for item in caught.value.diagnostics] == ["FP485"]
    assert not (tmp_path / "require" / "store").exists()


def test_a_disk_that_fills_up_during_the_build_is_said(
    toy: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: FileWriter) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FileWriter, "_claim", full)
    ran = Ran(stored_spec(toy, bert, store_budget="1 B"), tmp_path / "run")
    assert all("the store cannot be written (No space left" in text for text in ran.statements)


def test_a_file_that_somebody_writes_to_ends_the_run_and_resume_mends_it(
    toy: Path, bert: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    spec = stored_spec(toy, bert, store_budget="1 B")
    train(spec, tmp_path / "straight")
    with pytest.raises(DiagnosticError) as caught:
        train(spec, out, meddling_at_step(out))
    assert [item.code for item in caught.value.diagnostics] == ["FP486"]
    assert resume(out).status == "finished"
    assert_same_tree(out, tmp_path / "straight")


def meddling_at_step(out: Path) -> Callable[[Event], None]:
    def meddle(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 14:
            file = out / "store" / "k3.bin"
            file.write_bytes(b"\0" * file.stat().st_size)

    return meddle


INTERRUPTS = [
    (StoreProgress, 1),
    (StoreProgress, 16),
    (ExecutionChosen, 1),
    (ExecutionChosen, 2),
    (StepDone, 3),
]


@pytest.mark.parametrize("budget", ["2GiB", "1 B"])
@pytest.mark.parametrize(("kind", "number"), INTERRUPTS)
def test_stopped_while_it_is_built_or_read_and_resumed_is_never_stopped(
    toy: Path, bert: Path, tmp_path: Path, budget: str, kind: type, number: int
) -> None:
    phases = [
        *thawing(),
        {"name": "all", "epochs": 1, "rule": ALL},
        {"name": "again", "epochs": 2, "rule": HEADS},
    ]
    spec, out = stored_spec(toy, bert, phases, store_budget=budget), tmp_path / "run"
    train(spec, tmp_path / "straight")
    result = train(spec, out, stop_at(number, kind))
    assert result.status == "interrupted"
    assert not list(out.glob("store/.*"))
    again = resume(out) if out.exists() else train(spec, out)
    assert again.status == "finished"
    assert_same_tree(out, tmp_path / "straight")


def stop_at(number: int, kind: type) -> Callable[[Event], None]:
    seen: list[Event] = []

    def observer(event: Event) -> None:
        if isinstance(event, kind):
            seen.append(event)
            if len(seen) == number:
                raise KeyboardInterrupt

    return observer


def session(spec: Spec, out: Path) -> tuple[Session, list[Event]]:
    """Return a prepared run and the list that its events go to."""
    events: list[Event] = []
    return Session(prepare(spec), RunFolder(out), events.append), events


def test_hooks_of_ones_own_on_a_block_are_respected(toy: Path, bert: Path, tmp_path: Path) -> None:
    seen: list[object] = []
    running, events = session(stored_spec(toy, bert, thawing()[1:2]), tmp_path / "run")
    running.setup.model.backbone.encoder.layer[0].register_forward_hook(lambda *_: seen.append(1))
    running.run()
    (chosen,) = [event.statement for event in events if isinstance(event, ExecutionChosen)]
    assert chosen.startswith(
        "no store: there are hooks of your own on the blocks (on `backbone.encoder.layer.0`"
    )
    assert len(seen) >= 12


def test_data_that_change_under_the_store_end_the_run(toy: Path, bert: Path, tmp_path: Path) -> None:
    running, events = session(stored_spec(toy, bert), tmp_path / "run")
    texts = running.setup.data["train"]["topic"].inputs

    def lengthen(event: Event) -> None:
        events.append(event)
        if isinstance(event, ExecutionChosen) and event.phase == "top":
            # The first text takes a token from the second, and so on; the last is one shorter.
            texts.ends = texts.ends + (numpy.arange(len(texts)) < len(texts) - 1)

    running.running.execution.observer = lengthen
    with pytest.raises(DiagnosticError) as caught:
        running.run()
    (problem,) = caught.value.diagnostics
    assert problem.code == "FP486" and "the data changed under the store" in problem.message
    assert json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))["status"] == "failed"


def test_a_shorter_format_halves_the_store_and_says_so(toy: Path, bert: Path, tmp_path: Path) -> None:
    whole = Ran(stored_spec(toy, bert), tmp_path / "whole")
    half = Ran(stored_spec(toy, bert, store_dtype="bfloat16"), tmp_path / "half")
    assert [" of bfloat16 in memory" in text for text in half.statements] == [True] * 3
    assert 0 < half.distance(whole) < 0.1


def test_a_model_that_fails_when_it_is_watched_trains_without_a_store(
    toy: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("cannot be watched\nhere")

    monkeypatch.setattr("freezeplan.prefix.cut.observe", fail)
    ran = Ran(stored_spec(toy, bert), tmp_path / "run")
    expected = "no store: the model does not run under observation (RuntimeError: cannot be watched)"
    assert ran.statements == [expected] * 3


def test_scores_do_not_depend_on_the_order_in_which_rows_are_evaluated(toy: Path, bert: Path) -> None:
    setup = prepare(stored_spec(toy, bert))
    forward = Forward(setup.model, setup.encoder, setup.device)
    split = setup.data["validation"]["topic"]
    assert list(split.longest_first) != sorted(split.longest_first)
    (found,) = evaluate(forward, {"topic": split}, 8).values()
    setup.model.eval()
    with torch.no_grad():
        logits = torch.cat([forward.outputs("topic", split, [row]) for row in range(len(split))])
    expected = float(cross_entropy(logits, torch.tensor(split.targets)))
    assert found["loss"] == pytest.approx(expected, abs=1e-6)
    assert found["accuracy"] == float((logits.argmax(1) == torch.tensor(split.targets)).float().mean())
