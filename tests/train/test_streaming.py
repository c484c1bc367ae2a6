"""Training on rows that are streamed: every kind of task, the same bits after a stop, and nothing guessed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from freezeplan.choose.probing import probed_tasks
from freezeplan.cli.check import verdicts_of
from freezeplan.cost.estimating import estimate_cost
from freezeplan.data import streamed
from freezeplan.data.task_rows import load_task_data
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.export import card
from freezeplan.models.sources import inventory_for
from freezeplan.plan import compile_plan
from freezeplan.plan.storing import store_statements
from freezeplan.runs.checkpoints.store import CheckpointStore
from freezeplan.runs.events import Event, ExecutionChosen, StepDone
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec
from freezeplan.train.batches import Part
from freezeplan.train.examining import AskedRows, evaluate_run
from freezeplan.train.extracting import extract
from freezeplan.train.predict import ready
from freezeplan.train.ranks import Ranks
from freezeplan.train.resume import resume
from freezeplan.train.run import train
from freezeplan.train.setup import prepare
from freezeplan.train.streaming import Streams
from tests.train.language import PROMPT, language_spec, save_language_model, write_language_data
from tests.train.phased import ALL, HEADS_ONLY, POOLER, TOP, assert_same_tree, phased_spec
from tests.train.ranked import write_spec
from tests.train.streamed import in_shards, streaming
from tests.train.targets import tasks_of_every_kind, write_targets
from tests.train.tiny import toy_data, toy_rows, toy_spec, write_jsonl

LABELS = ["app", "mail", "shop"]


def stopped_after(number: int) -> Any:
    """Return an observer that stops a run, as a kill does, when so many steps are told."""
    seen: list[Event] = []

    def observer(event: Event) -> None:
        seen.extend([event] if isinstance(event, StepDone) else [])
        if isinstance(event, StepDone) and len(seen) == number:
            raise KeyboardInterrupt

    return observer


@pytest.fixture(scope="module")
def shards(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of four files with the toy rows."""
    folder = tmp_path_factory.mktemp("streamed")
    return in_shards(Path(shutil.copy(toy / "train.jsonl", folder)))


def spec_of(toy: Path, shards: Path, steps: int = 5, **train_table: Any) -> Spec:
    """Return a spec with one task over streamed shards."""
    data = toy_data(toy, "topic", train=str(shards / "*.jsonl"), stream=True, steps_per_epoch=steps)
    task = {"name": "topic", "labels": LABELS, "data": data | {"shuffle_buffer": 10}}
    table = {"epochs": 2, "batch_size": 8, "checkpoint_steps": 3, **train_table}
    return toy_spec(toy, rule=HEADS_ONLY, task=[task], train=table)


def test_stopped_anywhere_and_resumed_is_never_stopped(toy: Path, tmp_path: Path) -> None:
    # 96 rows in buffers of 20: the stops lie within a buffer, in another round, and in another phase.
    phases = [{"name": "heads", "epochs": 2}, {"name": "top", "steps": 5, "rule": [TOP]}]
    table = {"batch_size": 16, "mixing": "joint", "checkpoint_steps": 3, "accumulation": 2}
    spec = streaming(phased_spec(toy, phases, train=table), ["topic"], steps=5)
    train(spec, tmp_path / "whole")
    assert train(spec, tmp_path / "run", stopped_after(5)).status == "interrupted"
    while resume(tmp_path / "run", stopped_after(6)).status == "interrupted":
        pass
    assert_same_tree(tmp_path / "run", tmp_path / "whole")


def test_tasks_of_every_kind_are_streamed_as_they_are_read_whole(tmp_path: Path) -> None:
    write_targets(tmp_path)
    tasks = tasks_of_every_kind(tmp_path)
    table = {"batch_size": 8, "epochs": 1}
    spec = load_spec(toy_spec(tmp_path, rule=[ALL, POOLER, HEADS_ONLY[1]], task=tasks, train=table))
    result = train(streaming(spec, steps=9), tmp_path / "run")
    assert (result.status, set(result.validation)) == ("finished", {task["name"] for task in tasks})
    # A pass of 9 steps of 8 rows is longer than the data, which is said once for each task.
    assert [item.code for item in result.diagnostics].count("FP499") == len(tasks)


def test_a_language_model_learns_from_a_stream(tmp_path: Path) -> None:
    model, folder = save_language_model(tmp_path / "model"), write_language_data(tmp_path)
    spec = load_spec(language_spec(folder, model, PROMPT))
    made = {"whole": spec, "streamed": streaming(spec, steps=6)}
    scores = {name: train(item, tmp_path / name).validation["story"] for name, item in made.items()}
    assert scores["streamed"]["perplexity"] < 1.2 * scores["whole"]["perplexity"]


def test_the_rows_of_a_step_are_those_of_its_numbers_and_each_is_learned_once(
    toy: Path, shards: Path
) -> None:
    setup = prepare(spec_of(toy, shards, steps=6), observer=lambda event: None)
    (phase,), seen = setup.phases, []
    for step in range(phase.steps):
        data: dict[str, Any] = {}
        (part,) = setup.streams.read(phase.course.parts(step), data)
        assert part.rows == tuple(range(8)) and len(data["topic"]) == 8
        whole = list(data["topic"].inputs.digests())
        shares = [_share(setup.streams, phase.course.parts(step), Ranks(number, 3)) for number in range(3)]
        assert shares == [whole[number::3] for number in range(3)]
        seen += whole
    # 96 rows are 12 steps of 8.
    assert len(set(seen[:96])) == 96 and seen[96:] != seen[:48]
    assert set(seen[96:]) <= set(seen[:96])


def _share(streams: Streams, parts: tuple[Part, ...], ranks: Ranks) -> list[bytes]:
    """Return what a rank runs of a step, and make sure that it encodes little else."""
    data: dict[str, Any] = {}
    (part,) = streams.read(parts, data, ranks)
    found = list(data["topic"].inputs.digests())
    assert len(part.rows) == 8 and len(found) <= 4
    return [found[row] for row in ranks.own(part).rows]


def test_a_streamed_run_has_no_store_and_says_why(toy: Path, shards: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    spec = spec_of(toy, shards, epochs=1)
    train(spec, tmp_path / "run", events.append)
    (chosen,) = (event for event in events if isinstance(event, ExecutionChosen))
    assert chosen.statement == "no store: training rows are streamed, no inputs come again"
    plan = compile_plan(inventory_for(spec), spec)
    assert store_statements(spec, plan, None) == (chosen.statement,)
    (cost,) = estimate_cost(spec, plan).phases
    assert cost.no_store == "training rows are streamed, no inputs come again"
    assert cost.rows == {"topic": 40}


def error_of(call: Callable[[], Any]) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        call()
    (found,) = caught.value.diagnostics
    return found


@pytest.mark.parametrize("change", ["one more row", "another word"])
def test_a_run_does_not_go_on_over_other_files(toy: Path, shards: Path, tmp_path: Path, change: str) -> None:
    rows = Path(shutil.copytree(shards, tmp_path / "rows"))
    train(spec_of(toy, rows), tmp_path / "run", stopped_after(7))
    file = rows / "2.jsonl"
    text = file.read_text("utf-8")
    file.write_text(
        text + text.splitlines()[0] + "\n" if change == "one more row" else text.replace("box", "now")
    )
    found = error_of(lambda: resume(tmp_path / "run"))
    assert found.code == "FP544"
    assert found.notes[0].startswith("task `topic`, train: 4 files of ")
    assert found.notes[0].endswith("other names or content") == (change == "another word")
    file.write_text(text)
    assert resume(tmp_path / "run").status == "finished"


def test_rows_that_changed_where_a_file_is_not_compared_are_found_at_the_stop(
    toy: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed, "_sampled", lambda path: str(path.stat().st_size))
    rows = Path(shutil.copytree(shards, tmp_path / "rows"))
    train(spec_of(toy, rows), tmp_path / "run", stopped_after(7))
    before = {file: file.read_text("utf-8") for file in rows.iterdir()}
    for file, text in before.items():
        file.write_text(text.replace("box", "now"))
    found = error_of(lambda: resume(tmp_path / "run"))
    assert (found.code, found.notes) == (
        "FP544",
        ("task `topic`, train: other rows are where the run stopped",),
    )
    for file, text in before.items():
        file.write_text(text)
    assert resume(tmp_path / "run").status == "finished"


BAD = {
    "no text": (
        {"text": None, "topic": "app"},
        "FP457",
        "column `text` of `9.jsonl` holds null (no text) in line 40",
    ),
    "no label": (
        {"text": "x", "topic": None},
        "FP458",
        "column `topic` of `9.jsonl` holds null (no label) in line 40",
    ),
    "another label": (
        {"text": "x", "topic": "new"},
        "FP459",
        "`9.jsonl` has the label `new` (line 40), which is",
    ),
}


@pytest.mark.parametrize("kind", [*BAD, "no JSON"])
def test_a_bad_row_met_on_the_way_is_named_and_the_last_checkpoint_stays(
    toy: Path, tmp_path: Path, kind: str
) -> None:
    row, code, message = BAD.get(kind, ("{", "FP455", "`9.jsonl` cannot be read: line 41 is not JSON"))
    rows = toy_rows(60, seed=3)
    rows[39:39] = [row]
    write_jsonl(tmp_path / "9.jsonl", rows)
    if kind == "no JSON":
        lines = (tmp_path / "9.jsonl").read_text().splitlines()
        (tmp_path / "9.jsonl").write_text("\n".join("{" if line == '"{"' else line for line in lines))
    data = toy_data(toy, "topic", train=str(tmp_path / "9.jsonl"), stream=True, steps_per_epoch=15)
    task = {"name": "topic", "labels": LABELS, "data": data | {"shuffle_buffer": 10}}
    spec = toy_spec(toy, task=[task], train={"batch_size": 4, "epochs": 1, "checkpoint_steps": 3})
    found = error_of(lambda: train(spec, tmp_path / "run"))
    assert (found.code, found.message[: len(message)]) == (code, message)
    checkpoint, skipped = CheckpointStore(tmp_path / "run").newest()
    # Rows 31 to 40 are in steps 8 to 10.
    assert checkpoint is not None and checkpoint.state["step"] in (6, 9) and not skipped
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"train": "no/*.jsonl"}, "FP452", "no file fits the pattern `no/*.jsonl`"),
        ({"label": "subject"}, "FP456", "`0.jsonl`, `1.jsonl`, `2.jsonl`, `3.jsonl` have no column"),
        ({"labels": None}, "FP161", "the labels of the task `topic` are not known: its rows are streamed"),
        ({"labels": ["app", "mail"]}, "FP459", ""),
        ({"hub": "nobody/nothing", "train": "train"}, "FP463", "hub dataset `nobody/nothing`, split `train`"),
    ],
)
def test_what_cannot_be_streamed_is_refused_before_the_model_is_loaded(
    toy: Path, shards: Path, change: dict[str, Any], code: str, message: str
) -> None:
    (task,) = spec_of(toy, shards).model_dump(by_alias=True, exclude_unset=True)["task"]
    change = {"validation": None, "test": None} | change
    for key, value in change.items():
        table = task if key == "labels" else task["data"]
        table[key] = value
    found = error_of(lambda: load_task_data(Spec.model_validate({"task": [task]})))
    assert (found.code, found.message[: len(message)]) == (code, message)


def test_the_check_of_data_reads_the_first_rows_and_says_so(toy: Path, shards: Path, tmp_path: Path) -> None:
    path = write_spec(spec_of(toy, shards), tmp_path / "spec.toml")
    (found,) = verdicts_of(path, [None], strict=False, with_data=True)
    assert found.detail.endswith("topic: the first 10 streamed train, 24 validation, 24 test rows")


def test_what_needs_all_rows_refuses_streamed_ones(toy: Path, shards: Path, tmp_path: Path) -> None:
    spec = spec_of(toy, shards, epochs=1)
    train(spec, tmp_path / "run")
    asked = error_of(lambda: evaluate_run(tmp_path / "run", AskedRows("train")))
    assert (asked.code, asked.message) == (
        "FP576",
        "the training rows of `topic` are streamed, and not read whole",
    )
    whole = evaluate_run(tmp_path / "run", AskedRows("train", shards / "0.jsonl"))
    assert whole.tasks["topic"]["rows"] == 24
    # A card says that they were, in place of how many there are.
    parts = card._splits(card._facts(ready(tmp_path / "run")[0], "topic"))
    assert [(part.split, part.rows) for part in parts] == [
        ("train", "streamed"),
        ("validation", 24),
        ("test", 24),
    ]
    assert error_of(lambda: extract(tmp_path / "run", tmp_path / "vectors.parquet")).code == "FP578"
    (left,) = probed_tasks(load_task_data(spec)[0])[1]
    assert left.reason == "its training rows are streamed"


def test_a_dataset_of_the_hub_is_streamed_and_resumed(toy: Path, shards: Path, tmp_path: Path) -> None:
    # A folder stands for the hub: the same call of the same library, without the network.
    features = Features({"text": Value("string"), "topic": ClassLabel(names=LABELS)})
    for file in shards.iterdir():
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        columns = {
            "text": [row["text"] for row in rows],
            "topic": [LABELS.index(row["topic"]) for row in rows],
        }
        Dataset.from_dict(columns, features).to_parquet(tmp_path / "hub" / f"{file.stem}.parquet")
    spec = spec_of(toy, shards, epochs=2)
    (task,) = spec.task
    files = {"train": ["train"], "validation": None, "test": None}
    data = task.data.model_copy(update={"hub": str(tmp_path / "hub")} | files)
    spec = spec.model_copy(update={"task": [task.model_copy(update={"data": data})]})
    train(spec, tmp_path / "whole")
    assert train(spec, tmp_path / "run", stopped_after(7)).status == "interrupted"
    resume(tmp_path / "run")
    assert_same_tree(tmp_path / "run", tmp_path / "whole")
