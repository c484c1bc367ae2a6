"""A probe of a tiny network: what it sees at every depth, what it leaves out, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from click.testing import CliRunner
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertModel,
    ConvNextConfig,
    ConvNextModel,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTModel,
)

from freezeplan.choose import probing
from freezeplan.choose.baselines import _word_counts
from freezeplan.choose.depths import pooling, watched
from freezeplan.choose.features import extracted
from freezeplan.choose.kinds import PROBED
from freezeplan.choose.probe_records import ProbeReport, probe_from_record
from freezeplan.choose.probing import probe
from freezeplan.cli.program import program
from freezeplan.data.task_rows import load_task_data
from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.from_module import inventory_of
from freezeplan.models.multitask import MultiTaskModel
from freezeplan.spec.tables import Spec
from freezeplan.tasks.retrieval import Retrieval
from freezeplan.train.forward import Forward
from freezeplan.train.setup import prepare
from tests.train.kinds import of_images, write_images
from tests.train.targets import mixed_spec, write_targets
from tests.train.tiny import save_tiny_bert, toy_data, toy_spec, write_jsonl, write_toy_data

BERT = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_targets(tmp_path_factory.mktemp("kinds"), train=64, other=24)


@pytest.fixture(scope="module")
def report(kinds: Path) -> ProbeReport:
    return probe(mixed_spec(kinds))


def test_every_kind_is_probed_at_every_depth(report: ProbeReport) -> None:
    assert len(report.layers) == 2
    assert {task.kind for task in report.tasks} == set(PROBED)
    assert all("have no linear probe" in item.reason for item in report.left_out)
    for task in report.tasks:
        assert [item.depth for item in task.depths] == [0, 1, 2]
        assert task.enough <= task.best
        assert task.at(task.best).score == max(item.score for item in task.depths)
        assert all(item.error >= 0 for item in task.depths)
        assert task.rows["validation"] == 24
    for untrained in (task for task in report.tasks if task.kind in ("similarity", "embedding")):
        assert untrained.rows == {"train": 64, "validation": 24}
        assert all(item.strength is None for item in untrained.depths)


@pytest.mark.parametrize("name", ["find", "pick"])
def test_texts_are_found_at_the_last_depth_as_an_evaluation_finds_them(
    kinds: Path, report: ProbeReport, name: str
) -> None:
    setup = prepare(mixed_spec(kinds))
    split = setup.data["validation"][name]
    with torch.no_grad():
        setup.model.eval()
        vectors = Forward(setup.model, setup.encoder, torch.device("cpu")).outputs(name, split, range(24))
    scorer = split.kind.scorer(())
    scorer.update(vectors, split.target(range(24), torch.device("cpu")), 0.0)
    (found,) = [task.depths[-1] for task in report.tasks if task.task == name]
    assert found.score == pytest.approx(scorer.compute()["mrr"], abs=1e-6)
    assert found.error > 0


def test_words_give_their_topic_away(report: ProbeReport) -> None:
    for name, least in (("topic", 0.6), ("ner", 0.8)):
        task = next(task for task in report.tasks if task.task == name)
        assert task.at(task.best).score > least
        assert task.baselines[-1].score > 0.8
        assert task.baselines[0].score < 0.6


@pytest.mark.parametrize("name", ["find", "pick"])
def test_texts_are_found_by_words_in_common_as_by_dense_vectors_of_their_words(
    kinds: Path, report: ProbeReport, name: str
) -> None:
    (task,) = [task for task in load_task_data(mixed_spec(kinds))[0] if task.name == name]
    rows = [list(row) for row in task.splits["validation"].inputs]
    texts = sorted({text for row in rows for text in row})
    learned = [text for row in task.splits["train"].inputs for text in row]
    dense = _word_counts(len(learned)).fit(learned).transform(texts).toarray()
    numbers = [[texts.index(text) for text in row] for row in rows]
    scorer = Retrieval(temperature=1.0)
    scorer.add(numbers, dense[numpy.array(numbers)])
    (found,) = [probed.baselines for probed in report.tasks if probed.task == name]
    assert [item.name for item in found] == ["cosine of TF-IDF"]
    assert found[0].score == pytest.approx(scorer.compute()["mrr"])
    assert 0.0 < found[0].score < 1.0


def test_a_probe_reads_back_as_it_was_written(report: ProbeReport) -> None:
    record = report.to_record()
    assert probe_from_record(record) == report
    with pytest.raises(ValueError, match="format is 9"):
        probe_from_record(record | {"format_version": 9})
    for broken in ({}, [], None, {"format_version": 1}, record | {"tasks": [{"task": "x"}]}):
        with pytest.raises(ValueError):
            probe_from_record(broken)


def test_the_same_probe_twice_finds_the_same(kinds: Path, report: ProbeReport) -> None:
    assert probe(mixed_spec(kinds)).tasks == report.tasks


def test_features_are_hidden_states_pooled(kinds: Path) -> None:
    setup = prepare(mixed_spec(kinds))
    split = setup.data["train"]["topic"]
    found = extracted(setup, [split], False, lambda done, of: None)
    batch = setup.encoder.batch(split.inputs, [5], torch.device("cpu"))
    with torch.no_grad():
        states = setup.model.backbone(**batch, output_hidden_states=True).hidden_states
    for depth, expected in zip(found.depths, states, strict=True):
        assert depth[found.places(split.name)][5] == pytest.approx(expected.mean(dim=1)[0].numpy(), abs=1e-5)


def test_features_of_words_are_the_states_of_their_first_pieces(kinds: Path) -> None:
    setup = prepare(mixed_spec(kinds))
    split = setup.data["validation"]["ner"]
    found = extracted(setup, [split], True, lambda done, of: None)
    ends = found.ends(split.name)
    batch = setup.encoder.batch(split.inputs, [3], torch.device("cpu"))
    with torch.no_grad():
        states = setup.model.backbone(**batch, output_hidden_states=True).hidden_states
    for depth, expected in zip(found.depths, states, strict=True):
        mine = depth[found.places(split.name)][ends[2] : ends[3]]
        assert mine == pytest.approx(expected[0, 1:-1].numpy(), abs=1e-5)
    assert ends[-1] == len(split.targets.codes[split.targets.codes >= 0])


def test_rows_of_the_same_tokens_and_other_words_have_features_of_their_own(tmp_path: Path) -> None:
    save_tiny_bert(tmp_path / "bert")
    rows = [
        {"tokens": words, "tags": ["x"] * len(words)} for words in (["box-is"], ["box", "-", "is"], ["now"])
    ]
    rows[0]["tags"] = ["y"]
    data = {"train": str(write_jsonl(tmp_path / "rows.jsonl", rows)), "tokens": "tokens", "tags": "tags"}
    setup = prepare(toy_spec(tmp_path, task=[{"name": "t", "kind": "token_classification", "data": data}]))
    split = setup.data["train"]["t"]
    assert split.inputs.row("input_ids", 0).tolist() == split.inputs.row("input_ids", 1).tolist()
    assert extracted(setup, [split], True, lambda done, of: None).ends(split.name).tolist() == [1, 4, 5]


def test_features_beyond_the_budget_lie_on_disk_and_are_the_same(kinds: Path) -> None:
    few, many = (
        extracted(setup, [setup.data["train"]["topic"]], False, lambda done, of: None)
        for setup in (prepare(mixed_spec(kinds, store_budget=size)) for size in ("1 B", "1 GiB"))
    )
    assert isinstance(few.depths[0].base, numpy.memmap)
    assert all(numpy.array_equal(*pair) for pair in zip(few.depths, many.depths, strict=True))


def depths_of(backbone: torch.nn.Module, hidden: int, **batch: torch.Tensor) -> Any:
    model = MultiTaskModel(backbone.eval(), hidden, {"task": (2, 0.0)})
    return watched(model, inventory_of(model).stacks, batch, pooling(model, batch))


def test_layers_that_are_one_module_count_each_time() -> None:
    config = AlbertConfig(**BERT, vocab_size=9, embedding_size=8, num_hidden_groups=1)
    ids = torch.tensor([[2, 3], [4, 5]])
    assert len(depths_of(AlbertModel(config), 16, input_ids=ids).layers) == 3


@pytest.mark.parametrize(
    ("backbone", "hidden", "layers"),
    [
        (
            lambda: ResNetModel(ResNetConfig(embedding_size=4, hidden_sizes=[8, 16, 24, 32], depths=[1] * 4)),
            32,
            4,
        ),
        (lambda: ConvNextModel(ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1] * 4)), 32, 4),
        (lambda: ViTModel(ViTConfig(**BERT, image_size=64, patch_size=16)), 16, 3),
    ],
)
def test_maps_are_averaged_over_space_at_every_width(backbone: Any, hidden: int, layers: int) -> None:
    seen = depths_of(backbone(), hidden, pixel_values=torch.randn(2, 3, 64, 64))
    assert len(seen.layers) == layers
    assert seen.kept[-1].shape == (2, hidden)
    if layers == 4:
        assert [kept.shape[1] for kept in seen.kept[1:]] == [8, 16, 24, 32]


def test_hooks_are_gone_after_a_run() -> None:
    backbone = BertModel(BertConfig(**BERT, vocab_size=9))
    depths_of(backbone, 16, input_ids=torch.tensor([[2, 3]]))
    assert not any(module._forward_hooks for module in backbone.encoder.layer)
    assert not any(module._forward_pre_hooks for module in backbone.encoder.layer)


def test_images_are_probed(tmp_path: Path) -> None:
    write_images(tmp_path)
    save_tiny_bert(tmp_path / "bert")
    found = probe(of_images(tmp_path)).tasks[0]
    assert found.at(found.best).score > 0.9
    assert [item.name for item in found.baselines] == ["the most frequent label"]


def test_what_cannot_be_probed_is_left_out_and_said(toy: Path) -> None:
    data = toy_data(toy, "mood")
    del data["validation"]
    tasks = [{"name": "topic", "data": toy_data(toy, "topic")}, {"name": "mood", "data": data}]
    found = probe(toy_spec(toy, task=tasks))
    assert [(item.task, item.reason) for item in found.left_out] == [("mood", "it has no validation data")]
    assert [task.task for task in found.tasks] == ["topic"]
    assert error_of(toy_spec(toy, task=tasks[1:])) == "FP591"


def error_of(spec: Spec) -> str:
    with pytest.raises(DiagnosticError) as caught:
        probe(spec)
    return caught.value.diagnostics[0].code


def test_without_scikit_learn_it_says_how_to_get_it(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "find_spec", lambda name: None)
    assert error_of(toy_spec(toy)) == "FP590"


def test_layers_that_are_not_called_are_refused(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MultiTaskModel, "states", lambda model, **inputs: torch.zeros(2, 3, model.hidden))
    assert error_of(toy_spec(toy)) == "FP592"


def test_test_data_are_not_read(tmp_path: Path) -> None:
    save_tiny_bert(tmp_path / "bert")
    write_toy_data(tmp_path)
    (tmp_path / "test.jsonl").unlink()
    assert len(probe(toy_spec(tmp_path)).tasks) == 2


SPEC = """
[model]
source = "bert"

[[rule]]
match = "**"
state = "trainable"

[[task]]
name = "topic"
data = { train = "train.jsonl", validation = "validation.jsonl", label = "topic" }
"""


def test_the_command_prints_a_table_and_writes_the_record(toy: Path, tmp_path: Path) -> None:
    spec = toy / "probed.toml"
    spec.write_text(SPEC, "utf-8")
    out = tmp_path / "probe.json"
    found = CliRunner().invoke(program, ["probe", str(spec), "--out", str(out)], standalone_mode=False)
    assert found.exception is None, found.exception
    assert "task topic: accuracy on validation data, 96 train and 24 validation rows" in found.stdout
    assert "the most frequent label" in found.stdout
    import json

    report = probe_from_record(json.loads(out.read_text("utf-8")))
    assert f"{report.tasks[0].depths[1].score:.3f} ±" in found.stdout
