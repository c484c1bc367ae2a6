"""Features are the pooled vectors of the backbone as it is, one for each row of the data, with the labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pytest
import torch
from pyarrow import parquet

import freezeplan
from freezeplan.cli.program import run as command
from freezeplan.diagnostics import DiagnosticError
from freezeplan.runs.spec_file import spec_text
from freezeplan.train.extracting import FeatureFile, extract
from freezeplan.train.run import train
from tests.train.phased import HEADS_ONLY
from tests.train.targets import tasks_of_every_kind, write_targets
from tests.train.tiny import toy_spec, write_jsonl

SIZES = {"train": 64, "validation": 16, "test": 16}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the tiny model, rows, and a spec with tasks of every kind; no test may change it."""
    folder = write_targets(tmp_path_factory.mktemp("targets"))
    spec = toy_spec(folder, rule=HEADS_ONLY, task=tasks_of_every_kind(folder), train={"epochs": 1})
    (folder / "spec.toml").write_text(spec_text(spec), "utf-8")
    return folder


@pytest.fixture(scope="module")
def run(rows: Path) -> Path:
    """Return a finished run, whose backbone is that of the spec's source."""
    return train(freezeplan.load_spec(rows / "spec.toml"), rows / "run").folder


def read(path: Path) -> list[dict[str, Any]]:
    return parquet.read_table(path).to_pylist()


def written(rows: Path, split: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (rows / f"{split}.jsonl").read_text("utf-8").splitlines()]


def test_each_row_has_the_vectors_that_embed_gives_and_what_each_task_learns(
    rows: Path, run: Path, tmp_path: Path
) -> None:
    done = extract(run, tmp_path / "a.parquet")
    schema = parquet.read_schema(tmp_path / "a.parquet")
    assert schema.field("vector").type == pyarrow.list_(pyarrow.float32()) and done.width == 16
    table, loaded = read(tmp_path / "a.parquet"), freezeplan.load_run(run)
    assert done.rows == len(table)
    assert [name for name in schema.names if name.startswith("label.")] == [
        f"label.{task['name']}" for task in tasks_of_every_kind(rows)
    ]
    for split, size in SIZES.items():
        given = written(rows, split)
        texts = [row for row in table if row["split"] == split and row["label.topic"] is not None]
        assert [row["row"] for row in texts] == list(range(1, size + 1))
        assert {row["file"] for row in texts} == {f"{split}.jsonl"}
        expected = loaded.embed([row["text"] for row in given])
        assert numpy.allclose([row["vector"] for row in texts], expected, atol=1e-5)
        for key, name in {"topic": "topic", "mood": "weighed", "said": "said", "words": "words"}.items():
            assert [row[f"label.{name}"] for row in texts] == [row[key] for row in given]
        assert [row["label.numbers"] for row in texts] == [[row["charge"], row["words"]] for row in given]
        assert [row["label.flags"] for row in texts] == [
            [name for name in ("now", "the") if row[name]] for row in given
        ]
        assert all(row["label.ner"] is None and row["vector_pair"] is None for row in texts)
        compared = [row for row in table if row["split"] == split and row["label.alike"] is not None]
        for key, column in {"text": "vector", "other": "vector_pair"}.items():
            expected = loaded.embed([row[key] for row in given])
            assert numpy.allclose([row[column] for row in compared], expected, atol=1e-5)
        words = [row for row in table if row["split"] == split and row["label.ner"] is not None]
        assert [row["label.ner"] for row in words] == [row["tags"] for row in given]


def test_a_spec_gives_its_sources_backbone_without_any_training(
    rows: Path, run: Path, tmp_path: Path
) -> None:
    # The run trained its heads alone.
    extract(run, tmp_path / "run.parquet")
    extract(rows / "spec.toml", tmp_path / "spec.parquet")
    one, other = read(tmp_path / "run.parquet"), read(tmp_path / "spec.parquet")
    assert one == other


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_layer_has_its_own_states(rows: Path, run: Path, tmp_path: Path, layer: int) -> None:
    file = FeatureFile(rows / "test.jsonl")
    extract(run, tmp_path / "a.parquet", file, layer=layer)
    loaded = freezeplan.load_run(run)
    text = written(rows, "test")[3]["text"]
    encoder = loaded._saved.encoder
    batch = encoder.batch(encoder.encode([text]), [0], torch.device("cpu"))
    with torch.no_grad():
        states = loaded.model.backbone(**batch, output_hidden_states=True).hidden_states[layer]
    assert numpy.allclose(read(tmp_path / "a.parquet")[3]["vector"], states[0].mean(dim=0), atol=1e-5)
    if layer == 2:
        assert numpy.allclose(states[0].mean(dim=0), loaded.embed([text])[0], atol=1e-5)


def test_a_file_has_numbers_and_vectors(rows: Path, run: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "new.jsonl", [{"body": "the box"}, {"body": "a letter is here"}])
    done = extract(run, tmp_path / "a.parquet", FeatureFile(tmp_path / "new.jsonl", "body"))
    table = read(tmp_path / "a.parquet")
    assert (done.rows, [row["row"] for row in table], set(table[0])) == (2, [1, 2], {"row", "vector"})
    expected = freezeplan.load_run(run).embed(["the box", "a letter is here"])
    assert numpy.allclose([row["vector"] for row in table], expected, atol=1e-5)
    extract(run, tmp_path / "b.parquet", FeatureFile(rows / "test.jsonl", "text", "other"))
    assert len(read(tmp_path / "b.parquet")) == 16


def test_the_command_refuses_what_cannot_be_had(
    rows: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.parquet"
    data = ["--data", str(rows / "test.jsonl")]
    assert command(["features", str(run), "--out", str(out), *data]) == 0
    assert capsys.readouterr().out == f"wrote {out}: 16 vectors of 16 numbers\n"
    for arguments, code in (
        ([str(run), "--out", str(out)], "FP577"),
        ([str(run), "--out", str(tmp_path / "a.csv")], "FP577"),
        ([str(run), "--out", str(tmp_path / "b.parquet"), "--layer", "3", *data], "FP578"),
        ([str(tmp_path), "--out", str(tmp_path / "b.parquet")], "FP520"),
        ([str(run), "--out", str(tmp_path / "b.parquet"), *data, "--column", "said"], "FP530"),
        ([str(tmp_path / "no.toml"), "--out", str(tmp_path / "b.parquet")], "FP001"),
    ):
        assert command(["features", *arguments]) == 2
        assert code in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_rows_that_are_no_texts_have_no_features(rows: Path, run: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "new.jsonl", [{"text": "the box"}, {"text": " "}])
    with pytest.raises(DiagnosticError) as caught:
        extract(run, tmp_path / "a.parquet", FeatureFile(tmp_path / "new.jsonl"))
    assert [item.code for item in caught.value.diagnostics] == ["FP530"]
