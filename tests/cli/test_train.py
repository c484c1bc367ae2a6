from __future__ import annotations

import json

import pytest

from tests.cli.rooms import Outcome, Room

SPEC = """
[model]
source = "bert"

[optimizer]
lr = 0.05

[[rule]]
name = "body"
match = "backbone"
state = "frozen"

[[rule]]
match = "heads"
state = "trainable"

[[task]]
name = "topic"
data = { train = "train.jsonl", validation = "validation.jsonl", test = "test.jsonl", label = "topic" }

[[task]]
name = "mood"
data = { train = "train.jsonl", validation = "validation.jsonl", label = "mood" }

[train]
epochs = 1
batch_size = 16
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Room, Outcome]:
    """A folder in which a run has been trained by the command, and what the command printed."""
    from tests.train.tiny import save_tiny_bert, write_toy_data

    room = Room(tmp_path_factory.mktemp("train"))
    save_tiny_bert(room.path / "bert")
    write_toy_data(room.path)
    room.write("freezeplan.toml", SPEC)
    return room, room.run("train")


def test_train_shows_the_plan_first_and_ends_with_the_evidence(trained):
    room, done = trained
    assert (done.status, "\x1b" in done.out) == (0, False)
    assert done.out.startswith("group ")
    assert done.out.index("coverage ") < done.out.index("epoch 1/1 (") < done.out.index("evidence: ")
    assert (room.path / "runs" / "freezeplan" / "run.json").is_file()


def test_what_train_shows_is_what_show_shows(trained):
    room, done = trained
    assert done.out.startswith(room.run("show").out)


def test_a_finished_run_is_not_overwritten(trained):
    room, _ = trained
    files = sorted((room.path / "runs" / "freezeplan").iterdir())
    before = [path.stat().st_mtime_ns for path in files]
    again = room.run("train")
    assert again.status == 2 and "error[FP501]" in again.err
    assert [path.stat().st_mtime_ns for path in files] == before


def test_predict_answers_with_every_task_for_arguments_and_for_lines(trained):
    room, _ = trained
    texts = ["the parcel is broken", "a lovely till"]
    room.write("texts.txt", "\ufeff" + "\r\n".join(texts))
    named = room.run("predict", "runs/freezeplan", *texts, "--format", "json")
    filed = room.run("predict", "runs/freezeplan", "--file", "texts.txt")
    assert (named.status, filed.status) == (0, 0)
    answers = [json.loads(line) for line in named.out.splitlines()]
    assert [answer["text"] for answer in answers] == texts
    assert {answer["mood"]["label"] for answer in answers} <= {"bad", "good"}
    shown = [
        f"topic: {answer['topic']['label']} ({answer['topic']['score']:.2f})  "
        f"mood: {answer['mood']['label']} ({answer['mood']['score']:.2f})  {answer['text']}"
        for answer in answers
    ]
    assert filed.out.splitlines() == shown


def test_predict_refuses_what_is_no_text_and_what_is_no_run(trained):
    room, _ = trained
    binary = room.run("predict", "runs/freezeplan", stdin=b"fine\n\xff\xfe\n")
    assert binary.status == 2 and "error[FP530]: input 2 is not UTF-8 text" in binary.err
    nowhere = room.run("predict", "elsewhere", "a text")
    assert nowhere.status == 2 and nowhere.err.startswith("error[FP520]: ")
    both = room.run("predict", "runs/freezeplan", "a text", "--file", "-")
    assert both.status == 2 and "not both" in both.err


def test_a_run_in_phases_is_shown_as_show_shows_it(trained):
    room, _ = trained
    phases = SPEC.replace("epochs = 1\n", "") + "".join(
        f'[[phase]]\nname = "{name}"\nsteps = 1\n' for name in ("first", "second")
    )
    room.write("phases.toml", phases)
    shown, done = room.run("show", "phases.toml"), room.run("train", "phases.toml")
    assert done.status == 0
    assert done.out.startswith(shown.out)


def test_train_with_a_plan_trains_that_plan_or_stops(trained, tmp_path):
    room, _ = trained
    plan = tmp_path / "plan.json"
    assert room.run("show", "--out", str(plan)).status == 0
    done = room.run("train", "--plan", str(plan), "--out", str(tmp_path / "run"))
    assert done.status == 0 and "evidence: " in done.out
    written = (room.path / "freezeplan.toml").read_text().replace("lr = 0.05", "lr = 0.04")
    room.write("other.toml", written)
    other = room.run("train", "other.toml", "--plan", str(plan), "--out", str(tmp_path / "other"))
    assert (other.status, other.out) == (1, "") and "error[FP586]" in other.err
    assert "lr 5e-02 -> 4e-02: `heads` (4 tensors)" in other.err and not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("text", "code"), [(None, "FP584"), ("{", "FP584"), ("{}", "FP584"), ("9.0", "FP585")]
)
def test_train_with_a_plan_that_cannot_be_read_is_unusable_input(trained, tmp_path, text, code):
    room, _ = trained
    plan = tmp_path / "plan.json"
    if text is not None:
        plan.write_text(text if text.startswith("{") else json.dumps({"format_version": text, "phases": []}))
    done = room.run("train", "--plan", str(plan), "--out", str(tmp_path / "run"))
    assert (done.status, done.out) == (2, "") and f"error[{code}]" in done.err and "Traceback" not in done.err


def test_a_run_that_goes_on_takes_no_other_plan(trained):
    room, _ = trained
    done = room.run("train", "--resume", "runs/freezeplan", "--plan", "plan.json")
    assert done.status == 2 and "leave --plan" in done.err


def test_train_with_a_lock_trains_what_is_in_it_or_stops(trained, tmp_path):
    room, _ = trained
    text = (room.path / "freezeplan.toml").read_text()
    room.write("kept.toml", text)
    missing = room.run("train", "kept.toml", "--locked", "--out", str(tmp_path / "run"))
    assert (missing.status, missing.out) == (2, "") and "error[FP581]" in missing.err
    assert room.run("lock", "kept.toml").status == 0
    room.write("kept.toml", text.replace("lr = 0.05", "lr = 0.04"))
    other = room.run("train", "kept.toml", "--locked", "--out", str(tmp_path / "run"))
    assert (other.status, other.out) == (1, "") and "error[FP580]" in other.err
    assert not (tmp_path / "run").exists()
    room.write("kept.toml", text)
    done = room.run("train", "kept.toml", "--locked", "--out", str(tmp_path / "run"))
    assert done.status == 0 and "evidence: " in done.out
