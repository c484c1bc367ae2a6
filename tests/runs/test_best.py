"""A checkpoint of a run can be predicted from, verified with the run, and taken as a source."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.run_weights import weights_of_run
from freezeplan.runs.checkpoints.store import CheckpointStore
from freezeplan.runs.events import EpochDone, Event
from freezeplan.runs.verify import verify_run
from freezeplan.spec.reading import load_spec
from freezeplan.train.predict import predict
from freezeplan.train.run import train
from freezeplan.train.saved_run import checkpoint_folder
from tests.train.phased import stopping
from tests.train.test_resume import stop_at
from tests.train.tiny import toy_data, toy_spec

FROZEN = [{"match": "**", "state": "frozen"}]


@pytest.fixture(scope="module")
def kept(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[EpochDone]]:
    """Train a run whose best epoch is not its last."""
    seen: list[EpochDone] = []

    def see(event: Event) -> None:
        if isinstance(event, EpochDone):
            seen.append(event)

    out = tmp_path_factory.mktemp("best") / "run"
    train(stopping(toy, stop_when=None, keep_best="mood/loss", keep_last=1), out, see)
    return out, seen


def test_the_record_names_the_best_and_holds_the_scores(kept: tuple[Path, list[EpochDone]]) -> None:
    out, epochs = kept
    record = json.loads((out / "run.json").read_text())
    best = min(epochs, key=lambda event: event.scores["mood"]["loss"])
    assert record["best"] == {
        "checkpoint": f"step-{best.step:08d}",
        "metric": "mood/loss",
        "value": best.scores["mood"]["loss"],
    }
    last = epochs[-1]
    scores = {task: dict(values) for task, values in last.scores.items()}
    assert record["scores"]["validation"] == {"epoch": last.epoch, "step": last.step, "scores": scores}
    assert list(record["scores"]) == ["validation", "test"]
    times = json.loads((out / "times.json").read_text())
    assert list(times["seconds"]) == ["heads", "top", "all"] and times["total"] > 0
    assert list(times["cpu_seconds"]) == list(times["peak_bytes"]) == list(times["seconds"])


def test_a_checkpoint_is_predicted_from_by_name_and_by_folder(kept: tuple[Path, list[EpochDone]]) -> None:
    out, _ = kept
    names = CheckpointStore(out).names()
    for name in names:
        place = checkpoint_folder(out, name)
        assert place == out / "checkpoints" / name
        (found,) = predict(place, ["great parcel"])
        (usual,) = predict(out, ["great parcel"])
        assert (found == usual) == (name == names[-1])
    assert (
        checkpoint_folder(out, "best").name
        == json.loads((out / "run.json").read_text())["best"]["checkpoint"]
    )


def test_a_checkpoint_is_a_source_with_its_heads(
    kept: tuple[Path, list[EpochDone]], toy: Path, tmp_path: Path
) -> None:
    out, _ = kept
    name = CheckpointStore(out).names()[0]
    tasks = [{"name": n, "data": toy_data(toy, n)} for n in ("topic", "mood")]
    spec = toy_spec(toy, model={"source": str(out / "checkpoints" / name)}, rule=FROZEN, task=tasks)
    train(spec, tmp_path / "next")
    found, wanted = weights_of_run(tmp_path / "next"), weights_of_run(out, name)
    assert found.keys() == wanted.keys() and all(torch.equal(found[key], wanted[key]) for key in found)


def test_what_is_no_checkpoint_is_said(kept: tuple[Path, list[EpochDone]], toy: Path, tmp_path: Path) -> None:
    out, _ = kept
    with pytest.raises(DiagnosticError, match="has no checkpoint `step-1`") as caught:
        checkpoint_folder(out, "step-1")
    assert CheckpointStore(out).names()[0] in (caught.value.diagnostics[0].help or "")
    with pytest.raises(DiagnosticError, match="it is a file"):
        checkpoint_folder(out / "run.json", "step-1")
    train(toy_spec(toy), tmp_path / "plain", stop_at(1, (EpochDone,)))
    with pytest.raises(DiagnosticError, match="keeps no best checkpoint"):
        checkpoint_folder(tmp_path / "plain", "best")


def test_a_run_is_no_model_that_transformers_loads_as_random_weights(
    kept: tuple[Path, list[EpochDone]],
) -> None:
    from transformers import AutoModel

    with pytest.raises(OSError, match="no file named"):
        AutoModel.from_pretrained(kept[0])


def test_the_folder_and_its_checkpoints_share_what_never_trains(kept: tuple[Path, list[EpochDone]]) -> None:
    out, _ = kept
    states = [CheckpointStore(out).read(name).state["weights"] for name in CheckpointStore(out).names()]
    frozen = [{file for file in state if "/frozen-" in file} for state in states]
    assert len(frozen[0]) == 1 and all(files == frozen[0] for files in frozen)
    there = {f"weights/{item.name}" for item in (out / "weights").iterdir()}
    buffers = {file for file in there if "/buffers-" in file}
    assert there - buffers == set().union(*states)
    assert verify_run(out).diagnostics == ()


def test_the_folder_holds_the_newest_step_and_says_which(toy: Path, tmp_path: Path) -> None:
    train(stopping(toy, stop_when=None, checkpoint_steps=3), tmp_path / "run", stop_at(10))
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    names = CheckpointStore(tmp_path / "run").names()
    assert (record["step"], record["epoch"]) == (9, 1)
    newest, here = (weights_of_run(tmp_path / "run", name) for name in (names[-1], None))
    assert all(torch.equal(newest[key], here[key]) for key in newest)


def test_a_runs_spec_compiles_where_it_lies(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "bert").symlink_to(toy / "bert")
    (tmp_path / "rows.jsonl").write_bytes((toy / "train.jsonl").read_bytes())
    spec = tmp_path / "specs" / "one.toml"
    spec.write_text(
        '[model]\nsource = "../bert"\n[[rule]]\nmatch = "**"\nstate = "frozen"\n[[rule]]\nmatch = "heads"\n'
        'state = "trainable"\n[optimizer]\nlr = 50.0\n[train]\nepochs = 1\nbatch_size = 32\n'
        '[[task]]\nname = "topic"\ndata = { train = ["../rows.jsonl", "../r*.jsonl"], label = "topic" }\n'
    )
    train(load_spec(spec), tmp_path / "out" / "run")
    again = load_spec(tmp_path / "out" / "run" / "spec.toml")
    assert again.model.source == "../../bert"
    assert again.task[0].data.train == ["../../rows.jsonl", "../../r*.jsonl"]
    monkeypatch.chdir("/")
    assert train(again, tmp_path / "again").status == "finished"
    plan = json.loads((tmp_path / "out" / "run" / "plan.json").read_text())
    assert [item["span"]["file"] for item in plan["diagnostics"] if item["span"]] == ["one.toml"]
    assert str(tmp_path) not in json.dumps(plan)
