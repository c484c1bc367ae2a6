"""Texts that belong together: rows of two or three texts, negatives from the batch, vectors as the answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

import freezeplan
from freezeplan.cli.compiling import compiled_spec
from freezeplan.cost.estimating import estimate_cost
from freezeplan.diagnostics import DiagnosticError
from freezeplan.prefix.examples import Examples
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec
from freezeplan.train.predict import Asked, predict_file
from freezeplan.train.run import train
from freezeplan.train.setup import _check_processes, prepare
from tests.train.targets import pair_data, write_targets
from tests.train.tiny import save_tiny_bert, toy_spec, write_jsonl

FROZEN = [{"match": "**", "state": "frozen"}]
TOP = [*FROZEN, {"match": "@layers[-1:]", "state": "trainable"}]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the tiny model and rows; no test may change it."""
    return write_targets(tmp_path_factory.mktemp("targets"))


def spec_of(rows: Path, rule: list[dict[str, Any]] = TOP, data: Any = None, **more: Any) -> Spec:
    table = {"train": {"epochs": 3, "batch_size": 16}} | {
        key: more.pop(key) for key in ("train",) if key in more
    }
    task = {"name": "find", "kind": "embedding", "data": data or pair_data(rows)} | more
    return toy_spec(rows, task=[task], rule=rule, optimizer={"lr": 5e-3}, **table)


def triplets(rows: Path) -> dict[str, Any]:
    return pair_data(rows) | {"text_negative": "unlike"}


def file_of(folder: Path, texts: list[tuple[str, ...]]) -> dict[str, Any]:
    """Write rows of texts; returns the data table that reads them."""
    names = ("anchor", "positive", "negative")
    write_jsonl(folder / "rows.jsonl", [dict(zip(names, row, strict=False)) for row in texts])
    keys = ("text", "text_pair", "text_negative")[: len(texts[0])]
    return {"train": str(folder / "rows.jsonl")} | dict(zip(keys, names, strict=False))


@pytest.fixture(scope="module")
def run(rows: Path) -> Path:
    """Return a run that was trained on triplets; no test may change it."""
    return train(spec_of(rows, data=triplets(rows)), rows / "run").folder


def test_it_learns_to_find_the_partner(run: Path) -> None:
    log = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    losses = [entry["losses"]["find"] for entry in log if "losses" in entry]
    assert numpy.mean(losses[-3:]) < numpy.mean(losses[:3])


def test_three_texts_of_a_row_are_read_by_themselves(rows: Path) -> None:
    setup = prepare(spec_of(rows, data=triplets(rows)))
    split = setup.data["train"]["find"]
    assert len(split) == 64 and len(split.inputs) == 192
    assert list(split.entries([3, 0])) == [3, 0, 67, 64, 131, 128]
    assert split.lengths is not None and split.lengths[5] == max(split.inputs.lengths[[5, 69, 133]])
    assert split.targets.shape == (64, 3)


def test_the_same_text_is_stored_once(rows: Path, tmp_path: Path) -> None:
    texts = [("the box", "a letter"), ("a letter", "the box"), ("the box", "great")]
    setup = prepare(spec_of(rows, data=file_of(tmp_path, texts)))
    split = setup.data["train"]["find"]
    assert len(Examples({"train/find": split.inputs})) == len(numpy.unique(split.targets)) == 3
    assert split.targets[0, 0] == split.targets[1, 1] == split.targets[2, 0]


def test_a_last_batch_of_one_pair_changes_nothing(rows: Path, tmp_path: Path) -> None:
    texts = [("the box", "a letter"), ("my login", "the screen"), ("great", "awful")]
    table = {"train": {"epochs": 1, "batch_size": 2}}
    train(spec_of(rows, data=file_of(tmp_path, texts), **table), tmp_path / "run")
    log = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text("utf-8").splitlines()]
    losses = [entry["losses"]["find"] for entry in log if "losses" in entry]
    first, last, mean = losses
    assert first > 0.0 and last == 0.0 and mean == first


def test_a_frozen_encoder_is_evaluated_as_it_is(rows: Path, tmp_path: Path) -> None:
    found = train(spec_of(rows, FROZEN), tmp_path / "run").test["find"]
    vectors = freezeplan.load_run(tmp_path / "run")
    data = [json.loads(line) for line in (rows / "test.jsonl").read_text("utf-8").splitlines()]
    left, right = (vectors.embed([row[name] for row in data]) for name in ("text", "other"))
    left, right = (side / numpy.linalg.norm(side, axis=1, keepdims=True) for side in (left, right))
    ranks = []
    for row, item in enumerate(data):
        rivals = {other["other"]: right[place] for place, other in enumerate(data)}
        own = left[row] @ right[row]
        nearer = [
            text
            for text, vector in rivals.items()
            if text not in (item["other"], item["text"]) and left[row] @ vector >= own - 1e-6
        ]
        ranks.append(1 + len(nearer))
    assert found["mrr"] == pytest.approx(float(numpy.mean([1 / rank for rank in ranks])), abs=1e-6)


def test_it_answers_pairs_and_triplets_with_cosines(run: Path, rows: Path) -> None:
    loaded = freezeplan.load_run(run)
    asked = [("a letter", "the box"), ("great", "awful", "the box"), ("a letter", "a letter")]
    one, two, three = loaded.predict(asked)
    assert (one["text"], one["text_pair"]) == ("a letter", "the box") and "text_negative" not in one
    assert two["text_negative"] == "the box"
    assert three["find"]["value"] == pytest.approx(1.0, abs=1e-6)
    first, second, third = loaded.embed(["great", "awful", "the box"])
    for name, other in (("text_pair", second), ("text_negative", third)):
        cosine = first @ other / numpy.linalg.norm(first) / numpy.linalg.norm(other)
        assert two["find"]["values"][name] == pytest.approx(float(cosine), abs=1e-5)
    assert loaded.predict(["\t".join(row) for row in asked]) == [one, two, three]
    from_file = list(predict_file(run, rows / "test.jsonl", None, Asked(), "other"))
    assert list(from_file[0]["find"]) == ["value"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["great"], "no pair or triplet of texts"),
        ([("a", "b", "c", "d")], "no pair or triplet"),
        ([("a", " ")], "blank"),
    ],
)
def test_other_inputs_are_refused(run: Path, inputs: list[Any], message: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        freezeplan.load_run(run).predict(inputs)
    assert caught.value.diagnostics[0].code == "FP530" and message in caught.value.diagnostics[0].message


def problem(spec: Spec) -> Any:
    with pytest.raises(DiagnosticError) as caught:
        prepare(spec)
    return caught.value.diagnostics[0]


def test_rows_that_teach_nothing_are_refused_with_their_lines(rows: Path, tmp_path: Path) -> None:
    texts = [("the box", "a letter", "great"), ("great", "awful", "awful"), ("screen", "price", "screen")]
    found = problem(spec_of(rows, data=file_of(tmp_path, texts)))
    assert found.code == "FP458" and "lines 2 and 3" in found.message
    found = problem(spec_of(rows, data=file_of(tmp_path, [("the box", "a letter")])))
    assert found.code == "FP460"
    found = problem(spec_of(rows, data=file_of(tmp_path, [("the box", " "), ("a", "b")])))
    assert found.code == "FP457" and "line 1" in found.message


def test_a_native_head_and_sizes_beyond_the_models_are_refused(rows: Path) -> None:
    assert problem(spec_of(rows, head="native")).code == "FP183"
    found = problem(spec_of(rows, matryoshka=[512]))
    assert found.code == "FP104" and "512" in found.message


def test_several_processes_are_refused(rows: Path) -> None:
    _check_processes(spec_of(rows), 1)
    with pytest.raises(DiagnosticError) as caught:
        _check_processes(spec_of(rows), 2)
    assert caught.value.diagnostics[0].code == "FP128"


def test_it_learns_nothing_while_the_backbone_is_frozen(rows: Path) -> None:
    assert prepare(spec_of(rows, FROZEN)).evaluation_only


def test_its_cost_is_that_of_three_texts_a_row(rows: Path) -> None:
    # A batch size of its own, as tasks may have one.
    more = {"batch_size": 6}
    costs = [
        estimate_cost(spec, compiled_spec(load_spec(spec)).plan, length=8).phases[0].epoch
        for spec in (spec_of(rows, data=triplets(rows), **more), spec_of(rows, **more))
    ]
    assert costs[0] == pytest.approx(1.5 * costs[1], rel=0.02)


def test_texts_that_are_read_by_themselves_need_nothing_between_them(rows: Path, tmp_path: Path) -> None:
    save_tiny_bert(tmp_path / "bert")
    path = tmp_path / "bert" / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    tokenizer["post_processor"] = None
    path.write_text(json.dumps(tokenizer), "utf-8")
    assert prepare(spec_of(rows)).data["train"]["find"].targets.shape == (64, 2)
    spec = spec_of(rows).model_copy(update={"model": spec_of(tmp_path).model})
    assert prepare(spec).data["train"]["find"].targets.shape == (64, 2)


def test_the_loss_and_the_gradient_are_those_of_sentence_transformers() -> None:
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    from benchmarks.in_batch_negatives import differences

    for texts in (2, 3):
        loss, gradient = differences(texts)
        assert loss <= 1e-5 and gradient <= 1e-4
    assert torch.is_grad_enabled()
