"""Tasks of every kind in one run: mixed, in phases, stopped and resumed, read back, asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pytest

import freezeplan
from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.sources import inventory_for
from freezeplan.runs.events import EpochDone, PhaseDone, StepDone
from freezeplan.runs.verify import verify_run
from freezeplan.tasks import TASK_KINDS
from freezeplan.train.predict import Asked, predict, predict_file
from freezeplan.train.resume import resume
from freezeplan.train.run import train
from tests.train.phased import assert_same_tree
from tests.train.targets import mixed_spec, tasks_of_every_kind, write_targets
from tests.train.test_run import interrupt_at
from tests.train.tiny import toy_data, toy_spec

TEXTS = ["the screen is great", "a letter", "price price till the box is here again"]
OF_SEVERAL_TEXTS = ("pair", "alike", "compared", "find", "pick")
MIXINGS: dict[str, dict[str, Any]] = {
    "joint": {},
    "alternate": {"mixing": "alternate"},
    "accumulated": {"batch_size": 7, "accumulation": 3, "length_buckets": True},
    "without a store": {"store": "off", "checkpoint_steps": 2},
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the tiny model and rows; no test may change it."""
    return write_targets(tmp_path_factory.mktemp("targets"))


@pytest.fixture(scope="module")
def runs(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a finished run of each mixing."""
    place = tmp_path_factory.mktemp("runs")
    return {
        name: train(mixed_spec(rows, **more), place / name.replace(" ", "-")).folder
        for name, more in MIXINGS.items()
    }


def test_every_kind_is_among_them(rows: Path) -> None:
    kinds = {task.get("kind", "classification") for task in tasks_of_every_kind(rows)}
    # A language model's head is the model's own, which the encoder here has not.
    assert kinds == {name for name, kind in TASK_KINDS.items() if not kind.own_head}


@pytest.mark.parametrize("mixing", MIXINGS)
def test_each_is_scored_by_the_metrics_of_its_kind_and_verified(runs: dict[str, Path], mixing: str) -> None:
    record = json.loads((runs[mixing] / "run.json").read_text("utf-8"))
    for split in ("validation", "test"):
        scores = record["scores"][split]["scores"]
        for name, task in record["tasks"].items():
            assert list(scores[name]) == list(TASK_KINDS[task["kind"]].metric_names)
    assert verify_run(runs[mixing]).holds


@pytest.mark.parametrize(
    ("mixing", "stop", "at"),
    [(name, StepDone, 3) for name in MIXINGS] + [("joint", EpochDone, 1), ("joint", PhaseDone, 2)],
)
def test_stopped_and_resumed_is_never_stopped(
    rows: Path, runs: dict[str, Path], tmp_path: Path, mixing: str, stop: type, at: int
) -> None:
    seen: list[Any] = []

    def here(event: Any) -> bool:
        # Of the first epoch nothing is saved where no signal asks for it.
        counted = [item for item in seen if isinstance(item, stop) and getattr(item, "epoch", 2) > 1]
        return isinstance(event, stop) and len(counted) == at

    spec = mixed_spec(rows, **MIXINGS[mixing])
    assert train(spec, tmp_path / "run", interrupt_at(here, seen)).status == "interrupted"
    assert resume(tmp_path / "run").status == "finished"
    assert_same_tree(tmp_path / "run", runs[mixing])


def test_the_store_changes_no_score(runs: dict[str, Path]) -> None:
    found = [
        json.loads((runs[name] / "run.json").read_text("utf-8")) for name in ("joint", "without a store")
    ]
    assert "stored" in found[0]["execution"]["heads"] and "stored" not in found[1]["execution"]["heads"]
    one, other = (record["scores"]["test"]["scores"] for record in found)
    for task, scores in one.items():
        assert scores == pytest.approx(other[task], abs=1e-4)


def test_a_run_answers_the_same_in_python_and_on_the_command_line(runs: dict[str, Path]) -> None:
    loaded = freezeplan.load_run(runs["joint"])
    single = [name for name in loaded.labels if name not in ("ner", *OF_SEVERAL_TEXTS)]
    answers = loaded.predict(TEXTS, single)
    assert answers == list(predict(runs["joint"], TEXTS, Asked(single)))
    assert (loaded.labels["said"], loaded.labels["flags"]) == (("box", "now", "the"), ("now", "the"))
    assert loaded.labels["numbers"] == ("charge", "words")
    for answer in answers:
        assert list(answer) == ["text", *single]
        assert set(answer["said"]["labels"]) <= {"box", "now", "the"}
        assert len(answer["flags"]["labels"]) == len(answer["flags"]["scores"])
        assert list(answer["words"]) == ["value"]
        assert list(answer["numbers"]["values"]) == ["charge", "words"]


def test_words_are_asked_as_lists_or_as_texts_with_blanks(runs: dict[str, Path], rows: Path) -> None:
    loaded = freezeplan.load_run(runs["joint"])
    words = [text.split() for text in TEXTS]
    answers = loaded.predict(words, ["ner"])
    assert [answer["tokens"] for answer in answers] == words
    assert answers == loaded.predict(TEXTS, ["ner"])
    for answer in answers:
        assert set(answer["ner"]["tags"]) <= set(loaded.labels["ner"])
        assert all(0 < score <= 1 for score in answer["ner"]["scores"])
        for span in answer["ner"]["spans"]:
            assert span["text"] == " ".join(answer["tokens"][span["start"] : span["end"]])
            assert answer["ner"]["tags"][span["start"]].endswith(f"-{span['type']}")
        assert len(answer["ner"]["tags"]) == len(answer["ner"]["scores"]) == len(answer["tokens"])
    found = list(predict_file(runs["joint"], rows / "test.jsonl", None, Asked(["ner"])))
    written = [json.loads(line) for line in (rows / "test.jsonl").read_text().splitlines()]
    assert found == loaded.predict([row["tokens"] for row in written], ["ner"])


def test_words_beyond_the_longest_text_have_no_tag(runs: dict[str, Path]) -> None:
    words = ["box"] * 70
    (answer,) = freezeplan.load_run(runs["joint"]).predict([words], ["ner"])
    tags = answer["ner"]["tags"]
    assert len(tags) == 70 and tags[61] is not None and tags[62:] == [None] * 8


def test_pairs_are_asked_as_tuples_or_with_a_tab_between(runs: dict[str, Path], rows: Path) -> None:
    loaded = freezeplan.load_run(runs["joint"])
    pairs = [("a letter", "the box"), ("the box", "a letter"), ("great", "awful")]
    answers = loaded.predict(pairs, ["pair"])
    assert [(answer["text"], answer["text_pair"]) for answer in answers] == pairs
    assert answers == loaded.predict(["\t".join(pair) for pair in pairs], ["pair"])
    assert answers[0]["pair"]["score"] != answers[1]["pair"]["score"]
    found = list(predict_file(runs["joint"], rows / "test.jsonl", None, Asked(["pair"])))
    written = [json.loads(line) for line in (rows / "test.jsonl").read_text().splitlines()]
    assert found == loaded.predict([(row["text"], row["other"]) for row in written], ["pair"])


def test_two_texts_are_compared_by_their_vectors(runs: dict[str, Path]) -> None:
    loaded = freezeplan.load_run(runs["joint"])
    pairs = [("a letter", "the box is here again so now"), ("a letter", "a letter"), ("great", "awful")]
    values = [answer["alike"]["value"] for answer in loaded.predict(pairs, ["alike"])]
    assert values[1] == pytest.approx(2.0, abs=1e-5)
    first, second = (loaded.embed([pair[side] for pair in pairs]) for side in (0, 1))
    norms = numpy.linalg.norm(first, axis=1) * numpy.linalg.norm(second, axis=1)
    assert values == pytest.approx((2.0 * (first * second).sum(axis=1) / norms).tolist(), abs=1e-4)
    turned = [
        answer["alike"]["value"] for answer in loaded.predict([pair[::-1] for pair in pairs], ["alike"])
    ]
    assert turned == pytest.approx(values, abs=1e-5)


@pytest.mark.parametrize(
    ("inputs", "tasks", "code", "message"),
    [
        (TEXTS, None, "FP574", "tasks of different inputs"),
        ([("a", "b")], ["pair", "alike"], "FP574", "`alike` of compared text pairs"),
        ([("a", " ")], ["alike"], "FP530", "input 1 is blank text"),
        (TEXTS, ["pair"], "FP530", "input 1 is no pair of texts"),
        ([("a", "b", "c")], ["pair"], "FP530", "input 1 is no pair of texts"),
        ([("a", " ")], ["pair"], "FP530", "input 1 is blank text"),
        ([("a", "b")], ["topic"], "FP530", "input 1 is a list"),
        ([["a", " "]], ["ner"], "FP530", "input 1 is a list with blank text"),
        ([[]], ["ner"], "FP530", "input 1 is a list without any word"),
        ([3], ["ner"], "FP530", "input 1 is a number"),
    ],
)
def test_inputs_of_the_other_form_are_refused(
    runs: dict[str, Path], inputs: list[Any], tasks: list[str] | None, code: str, message: str
) -> None:
    with pytest.raises(DiagnosticError) as caught:
        freezeplan.load_run(runs["joint"]).predict(inputs, tasks)
    found, *_ = caught.value.diagnostics
    assert found.code == code and message in found.message


def test_a_run_is_the_source_of_another(rows: Path, runs: dict[str, Path], tmp_path: Path) -> None:
    rules = [{"match": "**", "state": "frozen"}]
    tasks = tasks_of_every_kind(rows)
    spec = toy_spec(rows, model={"source": str(runs["joint"])}, rule=rules, task=tasks)
    before = json.loads((runs["joint"] / "run.json").read_text("utf-8"))["scores"]["test"]["scores"]
    found = train(spec, tmp_path / "again").test
    assert {task: dict(scores) for task, scores in found.items()} == before


def test_a_head_that_goes_on_with_another_kind_is_noted(rows: Path, runs: dict[str, Path]) -> None:
    data = toy_data(rows, "x") | {"label": ["box", "now", "the"]}
    task = {"name": "said", "kind": "multi_label", "data": data}
    source = {"source": str(runs["joint"])}
    known = "the run's head of `said` learned"
    assert not any(known in note for note in inventory_for(toy_spec(rows, model=source, task=[task])).notes)
    other = task | {"kind": "regression"}
    notes = inventory_for(toy_spec(rows, model=source, task=[other])).notes
    assert f"{known} multi_label, this spec's goes on with regression" in notes
