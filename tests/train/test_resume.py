"""Stopped and resumed is the same as never stopped, to the last bit of every file; anything else is refused."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from freezeplan.diagnostics import DiagnosticError
from freezeplan.plan.document import to_json
from freezeplan.runs.checkpoints.store import CheckpointStore
from freezeplan.runs.events import EpochDone, Event, Finished, PhaseDone, PhaseStarted, Resumed, StepDone
from freezeplan.runs.verify import verify_run
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec
from freezeplan.train.resume import check_plan, resume
from freezeplan.train.run import RunResult, train
from tests.render.plans import small_plan
from tests.runs.changing import flip_a_bit
from tests.train.phased import HEADS_ONLY, assert_same_tree, every_kind, phased_spec, stopping, tree
from tests.train.tiny import toy_data, toy_spec, write_toy_data

SPECS: dict[str, Callable[[Path], Spec]] = {
    "alternate": every_kind,
    "joint": lambda toy: every_kind(toy, "joint", checkpoint_steps=2, keep_last=4),
    "stop_when": lambda toy: stopping(toy, keep_best="topic/accuracy", keep_last=1),
    "whole run": lambda toy: phased_spec(
        toy,
        [],
        optimizer={"name": "sgd", "lr": 0.05, "momentum": 0.9},
        train={"batch_size": 12, "epochs": 2, "accumulation": 3},
    ),
    "fp16": lambda toy: phased_spec(
        toy,
        [{"epochs": 1}, {"steps": 5, "rule": [{"match": "@layers[-1:]", "state": "trainable"}]}],
        train={"batch_size": 24, "precision": "fp16", "checkpoint_steps": 3},
    ),
    "adagrad": lambda toy: phased_spec(
        toy,
        [
            {"epochs": 1},
            {"steps": 4, "rule": [{"match": "heads.mood", "state": "frozen"}]},
            {"steps": 5, "rule": [{"match": "heads.mood", "state": "trainable"}]},
        ],
        optimizer={"name": "adagrad", "lr": 0.05, "initial_accumulator_value": 0.1},
    ),
    "two optimizers": lambda toy: phased_spec(
        toy,
        [
            {"steps": 5},
            {"steps": 4, "rule": [{"match": "heads.mood", "state": "frozen"}]},
            {"steps": 5, "on_thaw": "keep", "rule": [{"match": "heads.mood", "state": "trainable"}]},
        ],
        optimizer={
            "class": "tests.foreign_optimizers:Counting",
            "lr": 0.05,
            "matrices": {"name": "muon", "match": "heads.topic", "except": "@bias", "lr": 0.02},
        },
    ),
}


EVERYTHING = [
    {"match": "**", "except": "@pooler", "state": "trainable"},
    {"match": "@pooler", "state": "frozen"},
]


class Straight:
    """Runs that were never stopped, each made once."""

    def __init__(self, toy: Path, folder: Path) -> None:
        self.toy, self.folder = toy, folder
        self.events: dict[str, list[Event]] = {}

    def run(self, kind: str) -> Path:
        if kind not in self.events:
            self.events[kind] = []
            train(SPECS[kind](self.toy), self.folder / kind, self.events[kind].append)
        return self.folder / kind


@pytest.fixture(scope="module")
def straight(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Straight:
    return Straight(toy, tmp_path_factory.mktemp("straight"))


def stopped(spec: Spec, out: Path, number: int, kinds: tuple[type, ...] = (StepDone,)) -> RunResult:
    """Train until the given number of events of some kinds is reached, then stop as Ctrl-C does."""
    return train(spec, out, stop_at(number, kinds))


def stop_at(number: int, kinds: tuple[type, ...] = (StepDone,)) -> Callable[[Event], None]:
    seen: list[Event] = []

    def observer(event: Event) -> None:
        if isinstance(event, kinds):
            seen.append(event)
            if len(seen) == number:
                raise KeyboardInterrupt

    return observer


CASES = [
    *[("alternate", number) for number in (7, 10, 15, 21, 27)],
    *[("joint", number) for number in (3, 6, 9, 12, 14)],
    *[("stop_when", number) for number in (8, 11)],
    *[("whole run", number) for number in (7, 9)],
    *[("adagrad", number) for number in (7, 11, 14)],
    *[("two optimizers", number) for number in (6, 8, 12)],
]


@pytest.mark.parametrize(("kind", "step"), CASES)
def test_stopped_after_any_step_and_resumed_is_never_stopped(
    straight: Straight, tmp_path: Path, kind: str, step: int
) -> None:
    expected = straight.run(kind)
    out = tmp_path / "run"
    assert stopped(SPECS[kind](straight.toy), out, step).status == "interrupted"
    assert resume(out).status == "finished"
    assert_same_tree(out, expected)


@pytest.mark.parametrize("kind", ["alternate", "stop_when"])
def test_stopped_at_every_boundary_in_turn_is_never_stopped(
    straight: Straight, tmp_path: Path, kind: str
) -> None:
    expected, out = straight.run(kind), tmp_path / "run"
    boundaries = (EpochDone, PhaseDone, PhaseStarted)
    result = stopped(SPECS[kind](straight.toy), out, 4, boundaries)
    while result.status == "interrupted":
        result = resume(out, stop_at(4, boundaries))
    assert_same_tree(out, expected)


def test_the_result_of_a_resumed_run_is_that_of_the_whole(straight: Straight, tmp_path: Path) -> None:
    spec, events = SPECS["alternate"](straight.toy), []
    whole = train(spec, tmp_path / "whole", events.append)
    stopped(spec, tmp_path / "run", 15)
    seen: list[Event] = []
    again = resume(tmp_path / "run", seen.append)
    assert (again.validation, again.test, again.statement) == (whole.validation, whole.test, whole.statement)
    assert (again.epoch, again.diagnostics) == (whole.epoch, whole.diagnostics)
    (gone_on,) = (event for event in seen if isinstance(event, Resumed))
    assert (gone_on.step, gone_on.phase) == (14, "top")
    rest = [event for event in events if isinstance(event, StepDone) and event.step > 14]
    assert [event for event in seen if isinstance(event, StepDone)] == rest


def test_the_stop_says_how_to_go_on(toy: Path, tmp_path: Path) -> None:
    notes = {}
    for step in (1, 8):
        result = stopped(SPECS["alternate"](toy), tmp_path / f"run{step}", step)
        notes[step] = (result.diagnostics[-1].message, result.diagnostics[-1].help)
    assert notes[1] == ("the run was stopped; no epoch was complete: nothing was written", None)
    out = tmp_path / "run8"
    assert notes[8] == (
        f"the run was stopped; epoch 1 is complete and usable in `{out}`",
        f"go on with `freezeplan train --resume {out}`",
    )


def test_a_stop_before_the_first_epoch_goes_on_from_a_checkpoint_in_steps(toy: Path, tmp_path: Path) -> None:
    spec = every_kind(toy, checkpoint_steps=2)
    train(spec, tmp_path / "whole")
    result = stopped(spec, tmp_path / "run", 5)
    assert result.diagnostics[-1].message.endswith(
        f"no epoch was complete; `{tmp_path / 'run'}` holds step 4"
    )
    resume(tmp_path / "run")
    assert_same_tree(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize(
    ("kind", "step"), [("alternate", 2), ("alternate", 9), ("stop_when", 7), ("joint", 6), ("whole run", 8)]
)
def test_a_signal_loses_no_step_and_leaves_no_trace(
    straight: Straight, tmp_path: Path, kind: str, step: int
) -> None:
    expected, out = straight.run(kind), tmp_path / "run"
    assert train(SPECS[kind](straight.toy), out, signal_at(step)).status == "interrupted"
    # The signal comes while a step is reported: the next is the last, if the epoch has one.
    assert CheckpointStore(out).newest()[0].state["step"] in (step, step + 1)
    while resume(out, signal_at(2)).status == "interrupted":
        pass
    assert_same_tree(out, expected)


def test_a_stop_after_the_last_file_comes_too_late(toy: Path, tmp_path: Path) -> None:
    result = train(toy_spec(toy), tmp_path / "run", stop_at(1, (Finished,)))
    assert result.status == "finished"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"


def signal_at(number: int) -> Callable[[Event], None]:
    """Return an observer that sends this process a signal, as Ctrl-C does, at a step of those it sees."""
    seen: list[Event] = []

    def observer(event: Event) -> None:
        seen.extend([event] if isinstance(event, StepDone) else [])
        if isinstance(event, StepDone) and len(seen) == number:
            signal.raise_signal(signal.SIGINT)

    return observer


def test_a_stop_before_the_first_epoch_replaces_no_other_run(toy: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    stopped(toy_spec(toy), out, 14)
    before = tree(out)
    assert (
        train(toy_spec(toy, train={"epochs": 5}), out, signal_at(2), overwrite=True).status == "interrupted"
    )
    assert tree(out) == before


def code_of(call: Callable[[], Any]) -> tuple[str, tuple[str, ...]]:
    with pytest.raises(DiagnosticError) as caught:
        call()
    (found,) = caught.value.diagnostics
    return found.code, found.notes


THREE_EPOCHS = {"epochs": 3, "batch_size": 16}


@pytest.fixture(scope="module")
def made(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run that was stopped in its third epoch, and the same run never stopped."""
    folder = tmp_path_factory.mktemp("made")
    stopped(toy_spec(toy, train=THREE_EPOCHS), folder / "half", 30)
    train(toy_spec(toy, train=THREE_EPOCHS), folder / "whole")
    return folder


@pytest.fixture
def half(made: Path, tmp_path: Path) -> Path:
    """Return a copy of the stopped run, with its two checkpoints, as deep in the file system as the whole one."""
    return Path(shutil.copytree(made / "half", made.parent / tmp_path.name / "half"))


def test_what_a_killed_run_left_in_the_log_is_cut_off_when_the_next_one_stops_at_once(half: Path) -> None:
    with (half / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step"')
    assert resume(half, stop_at(1, (Resumed,))).status == "interrupted"
    assert [item.message for item in verify_run(half).diagnostics if item.is_error] == []


def test_a_kill_before_old_checkpoints_are_removed_leaves_no_trace(
    toy: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, out = made / "whole", made.parent / tmp_path.name / "run"
    last = CheckpointStore(expected).names()[-1]
    prune = CheckpointStore.prune

    def stop(store: CheckpointStore, newest: int, keep: int, *more: Any) -> None:
        prune(store, newest, keep + 1, *more)
        if store.names()[-1] == last:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "prune", stop)
        assert train(toy_spec(toy, train=THREE_EPOCHS), out).status == "interrupted"
    assert len(CheckpointStore(out).names()) > len(CheckpointStore(expected).names())
    assert resume(out).status == "finished"
    assert_same_tree(out, expected)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


FILES = [
    "optimizer.safetensors",
    "rng.json",
    "plan.json",
    "ledger.json",
    "state.json",
]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", [truncate, flip_a_bit, Path.unlink])
def test_a_damaged_checkpoint_is_found_by_its_hashes(
    half: Path, file: str, damage: Callable[[Path], None]
) -> None:
    damage(half / "checkpoints" / "step-00000024" / file)
    found, reasons = CheckpointStore(half).newest()
    assert found is not None and found.name == "step-00000012"
    assert list(reasons) == ["step-00000024"] and f"`{file}`" in reasons["step-00000024"]


def test_a_damaged_checkpoint_is_passed_over_and_said(half: Path, made: Path) -> None:
    flip_a_bit(half / "checkpoints" / "step-00000024" / "ledger.json")
    seen: list[Event] = []
    (warning,) = resume(half, seen.append).diagnostics
    assert (warning.code, warning.is_error) == ("FP541", False)
    assert "checkpoint `step-00000024` is damaged: `ledger.json`" in warning.message
    (gone_on,) = (event for event in seen if isinstance(event, Resumed))
    assert (gone_on.step, list(gone_on.skipped)) == (12, ["step-00000024"])
    assert_same_tree(half, made / "whole")


def test_without_a_sound_checkpoint_it_says_so_and_touches_nothing(half: Path) -> None:
    for name in CheckpointStore(half).names():
        truncate(half / "checkpoints" / name / "rng.json")
    before = tree(half)
    code, notes = code_of(lambda: resume(half))
    assert (code, len(notes)) == ("FP542", 2)
    assert tree(half) == before


def test_a_folder_without_a_run_is_refused(toy: Path, tmp_path: Path) -> None:
    assert code_of(lambda: resume(tmp_path / "nowhere"))[0] == "FP520"
    assert code_of(lambda: resume(toy))[0] == "FP520"


def test_a_checkpoint_that_needs_a_damaged_one_is_not_used(toy: Path, tmp_path: Path) -> None:
    until = {"metric": "topic/accuracy", "patience": 9, "max_epochs": 9, "restore_best": True}
    spec = phased_spec(toy, [{"name": "all", "until": until}], train={"batch_size": 32, "keep_last": 8})
    stopped(spec, tmp_path / "run", 8, (EpochDone,))
    store = CheckpointStore(tmp_path / "run")
    needed = store.read(store.names()[-1]).state["needs"]
    assert needed, "the last epoch must not be the best one"
    flip_a_bit(store.folder / needed[0] / "ledger.json")
    found, reasons = store.newest()
    assert found is not None and store.names().index(found.name) < store.names().index(needed[0])
    assert f"it needs `{needed[0]}`, which cannot be used" in reasons[store.names()[-1]]


def changed(half: Path, toy: Path, allow: tuple[str, ...] = (), **tables: Any) -> RunResult:
    values = {"train": THREE_EPOCHS} | tables
    return resume(half, spec=toy_spec(toy, **values), allow=allow)


def test_a_changed_rate_is_refused_with_the_difference_and_goes_on_when_allowed(
    half: Path, toy: Path
) -> None:
    before = tree(half)
    code, notes = code_of(lambda: changed(half, toy, optimizer={"lr": 0.01}))
    assert code == "FP543"
    assert notes[0] == "base learning rate 5e-02 -> 1e-02"
    assert notes[1].startswith("phase `whole run`: lr 5e-02 -> 1e-02 (4 tensors: `heads.topic.linear.weight`")
    assert tree(half) == before
    assert code_of(lambda: changed(half, toy, ("epochs",), optimizer={"lr": 0.01}))[0] == "FP543"
    result = changed(half, toy, ("lr",), optimizer={"lr": 0.01})
    assert (result.status, result.diagnostics[-1].code) == ("finished", "FP547")
    rates = [json.loads(line) for line in (half / "metrics.jsonl").read_text().splitlines()]
    steps = [record["rates"] for record in rates if record["kind"] == "step"]
    assert [max(step.values()) < 0.01 for step in steps[23:25]] == [False, True]


def test_a_longer_run_goes_on_when_allowed_also_a_finished_one(half: Path, toy: Path) -> None:
    longer = {"train": {"epochs": 4, "batch_size": 16}}
    assert code_of(lambda: changed(half, toy, **longer))[0] == "FP543"
    assert changed(half, toy, ("epochs",), **longer).epoch == 4
    assert code_of(lambda: resume(half))[0] == "FP546"
    result = changed(half, toy, ("epochs",), train={"epochs": 5, "batch_size": 16})
    assert (result.status, result.epoch) == ("finished", 5)
    evidence = json.loads((half / "evidence.json").read_text())
    assert [phase["steps"] for phase in evidence["phases"]] == [60]


def test_what_trains_can_never_change(half: Path, toy: Path) -> None:
    rules = [*HEADS_ONLY, {"match": "@layers[-1:]", "state": "trainable"}]
    code, notes = code_of(lambda: changed(half, toy, ("lr", "epochs"), rule=rules))
    assert code == "FP543"
    assert any("state frozen -> trainable (16 tensors" in note for note in notes)


def test_a_renamed_rule_changes_nothing(half: Path, toy: Path) -> None:
    rules = [
        {"match": "backbone", "state": "frozen"},
        {"name": "tops", "match": "heads", "state": "trainable"},
    ]
    result = changed(half, toy, rule=rules)
    assert (result.status, result.diagnostics[-1].notes) == ("finished", ("only names of rules or groups",))


@pytest.mark.parametrize(
    ("table", "note"),
    [
        ({"batch_size": 32}, "train.batch_size was 16, is 32"),
        ({"seed": 14}, "train.seed was 13, is 14"),
        ({"mixing": "joint"}, "train.mixing was alternate, is joint"),
        ({"max_length": 8}, "train.max_length was 64, is 8"),
    ],
)
def test_other_settings_are_refused(half: Path, toy: Path, table: dict[str, Any], note: str) -> None:
    call = lambda: changed(half, toy, ("lr", "epochs"), train=THREE_EPOCHS | table)  # noqa: E731
    with pytest.raises(DiagnosticError) as caught:
        call()
    assert "FP545" in {item.code for item in caught.value.diagnostics}
    assert note in {text for item in caught.value.diagnostics for text in item.notes}


def test_changed_rows_are_refused(tmp_path: Path, toy: Path) -> None:
    shutil.copytree(toy / "bert", tmp_path / "bert")
    write_toy_data(tmp_path)
    stopped(toy_spec(tmp_path), tmp_path / "run", 14)
    rows = (tmp_path / "train.jsonl").read_text().splitlines()
    (tmp_path / "train.jsonl").write_text("\n".join([*rows[1:], rows[0]]))
    assert code_of(lambda: resume(tmp_path / "run")) == (
        "FP544",
        (
            "task `topic`, train: the same number of rows, other ones",
            "task `mood`, train: the same number of rows, other ones",
        ),
    )
    (tmp_path / "train.jsonl").write_text("\n".join(rows[1:]))
    assert code_of(lambda: resume(tmp_path / "run"))[1][0] == "task `topic`, train: 96 rows, now 95"
    (tmp_path / "train.jsonl").write_text("\n".join(rows))
    assert resume(tmp_path / "run").status == "finished"


def test_relative_paths_of_the_spec_still_start_where_they_did(
    tmp_path: Path, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "specs"
    place.mkdir()
    shutil.copytree(toy, tmp_path / "toy")
    data = toy_data(Path("../toy"), "topic")
    table = {
        "model": {"source": "../toy/bert"},
        "rule": HEADS_ONLY,
        "task": [{"name": "topic", "data": data}],
        "train": {"epochs": 2, "batch_size": 16},
    }
    import tomli_w

    (place / "spec.toml").write_text(tomli_w.dumps(table))
    stopped(load_spec(place / "spec.toml"), tmp_path / "deep" / "run", 8)
    shutil.move(tmp_path, moved := tmp_path.with_name("moved"))
    monkeypatch.chdir("/")
    assert resume(moved / "deep" / "run").status == "finished"


@pytest.fixture
def own_source(tmp_path: Path, toy: Path) -> tuple[Path, Path]:
    """Return a run that was stopped and the same one never stopped, of a model with eager attention."""
    shutil.copytree(toy, tmp_path, dirs_exist_ok=True)
    change_config(tmp_path, attn_implementation="eager")
    spec = toy_spec(tmp_path, rule=EVERYTHING, train={"epochs": 2, "batch_size": 48})
    train(spec, tmp_path / "whole")
    stopped(spec, tmp_path / "run", 6)
    return tmp_path / "run", tmp_path / "whole"


def change_config(folder: Path, **values: Any) -> None:
    path = folder / "bert" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


OTHER = {"hidden_act": "relu", "num_attention_heads": 4, "attn_implementation": "sdpa"}
CHANGES: list[Callable[[Path], None]] = [
    lambda folder: change_config(folder, **OTHER),
    lambda folder: shutil.rmtree(folder / "bert"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_goes_on_from_its_own_folder_whatever_became_of_the_source(
    own_source: tuple[Path, Path], tmp_path: Path, change: Callable[[Path], None]
) -> None:
    run, whole = own_source
    change(tmp_path)
    assert resume(run).status == "finished"
    assert_same_tree(run, whole)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_what_the_model_is_made_from_is_checked_before_it_is_used(half: Path, file: str) -> None:
    path = half / file
    path.write_text(path.read_text("utf-8").replace("1", "2", 1), "utf-8")
    before = tree(half)
    assert code_of(lambda: resume(half))[0] == "FP521"
    path.unlink()
    assert code_of(lambda: resume(half))[0] == "FP521"
    del before[file]
    assert tree(half) == before


def test_a_config_read_from_the_source_again_must_be_the_runs(
    own_source: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As for a model with code of its own, which stays where the source is.
    monkeypatch.setattr("freezeplan.train.setup.own_spec", lambda spec, folder: spec)
    change_config(tmp_path, hidden_act="relu", layer_norm_eps=0.1)
    code, notes = code_of(lambda: resume(own_source[0]))
    assert (code, notes) == ("FP545", ("hidden_act was gelu, is relu", "layer_norm_eps was 1e-12, is 0.1"))


def test_other_surroundings_are_a_warning(half: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freezeplan.train.identity.libraries", lambda: {"torch": "1.0"})
    result = resume(half)
    assert (result.diagnostics[-1].code, result.status) == ("FP548", "finished")
    assert any(
        note.startswith("torch was ") and note.endswith("is 1.0") for note in result.diagnostics[-1].notes
    )


def test_a_stop_while_resuming_leaves_everything_as_it_was(
    half: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: Any) -> None:
        raise KeyboardInterrupt

    before = tree(half)
    monkeypatch.setattr("freezeplan.train.resume.prepare", stop)
    assert resume(half).status == "interrupted"
    assert tree(half) == before


def test_a_run_that_began_under_an_older_form_of_the_same_plan_goes_on_without_a_word() -> None:
    plan = small_plan()
    record = json.loads(to_json(plan))
    del record["assignments"]
    older = SimpleNamespace(plan=record | {"format_version": "1.2"})
    assert check_plan(older, plan, ()) == ()
    record["optimizer"]["lr"] = 1.0
    with pytest.raises(DiagnosticError):
        check_plan(older, plan, ())
