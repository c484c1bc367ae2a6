"""A batch of one row and BatchNorm in training mode are refused before the first step, exactly where torch would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from freezeplan.diagnostics import DiagnosticError
from freezeplan.outside.quiet import quiet
from freezeplan.train import single_rows
from freezeplan.train.batches import Part
from freezeplan.train.ranks import Ranks
from freezeplan.train.setup import prepare
from tests.train.vision import EVERYTHING, digits_spec, write_digits

HEADS = [{"match": "**", "state": "frozen"}, {"match": "@heads", "state": "trainable"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with 17 digits to train on."""
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder)
    for split, count in {"train": 17, "validation": 8, "test": 8}.items():
        path = folder / f"{split}.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:count]))
    return folder


def spec_of(folder: Path, size: int, batch_size: int, rule: list[dict[str, Any]] = EVERYTHING) -> Any:
    """Return a spec for a ResNet over images of some size: of 8 pixels, its last stage has one."""
    source = folder / f"resnet{size}"
    config = transformers.ResNetConfig(
        num_channels=1, embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic"
    )
    square = {"height": size, "width": size}
    with quiet(), torch.random.fork_rng(devices=[]):
        transformers.ResNetModel(config).save_pretrained(source)
    transformers.ViTImageProcessorPil(size=square, image_mean=[0.3], image_std=[0.4]).save_pretrained(source)
    rule = [item for item in rule if item["match"] != "@pooler"]
    rule = [{key: value for key, value in item.items() if key != "except"} for item in rule]
    table = {"epochs": 1, "batch_size": batch_size}
    return digits_spec(folder, {"source": str(source)}, ("digit",), train=table, rule=rule)


def test_it_is_refused_before_training_with_a_size_that_works(folder: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        prepare(spec_of(folder, 8, 16))
    (found,) = caught.value.diagnostics
    assert (found.code, found.where) == ("FP476", "train.batch_size")
    assert found.help == "freeze the BatchNorm modules, or write batch_size = 17"
    prepare(spec_of(folder, 8, 17))


def test_several_processes_leave_single_rows_to_one_of_them_sooner() -> None:
    alone = [size for size in range(16, 33) if single_rows._has_single(size, 16)]
    shared = [size for size in range(16, 33) if single_rows._has_single(size, 16, processes=2)]
    assert (alone, shared) == ([17], [17, 18, 19])
    for size in range(1, 20):
        parts = Part("topic", tuple(range(size)))
        rows = [len(Ranks(rank, 2).own(parts).rows) for rank in range(2)]
        assert single_rows._has_single(size, 32, processes=2) is (1 in rows)


def test_statistics_of_a_part_of_a_batch_are_warned_of(folder: Path) -> None:
    for rule, code in ((EVERYTHING, ["FP558"]), (HEADS, [])):
        setup = prepare(spec_of(folder, 8, 17, rule))
        found = single_rows.check_shared_statistics(setup.model, setup.phases, 2)
        assert [item.code for item in found] == code
        assert single_rows.check_shared_statistics(setup.model, setup.phases, 1) == ()


def test_torch_would_stop_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_rows, "_refuses", lambda *_: False)
    setup = prepare(spec_of(folder, 8, 16))
    batch = setup.encoder.batch(setup.data["train"]["digit"].inputs, (16,), torch.device("cpu"))
    with pytest.raises(ValueError, match=single_rows.REFUSAL):
        setup.model(task="digit", **batch)


FINE = {"larger images": (32, 16, EVERYTHING), "BatchNorm is frozen": (8, 16, HEADS)}


@pytest.mark.parametrize("case", FINE)
def test_where_torch_takes_one_row_it_is_not_refused(folder: Path, case: str) -> None:
    size, batch_size, rule = FINE[case]
    setup = prepare(spec_of(folder, size, batch_size, rule))
    assert "digit" in setup.data["train"]


def test_the_trial_leaves_no_trace(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    refuses = single_rows._refuses
    monkeypatch.setattr(single_rows, "_refuses", lambda *args: tried.append(args) or refuses(*args))
    first, first_random = prepare(spec_of(folder, 32, 16)), torch.random.get_rng_state()
    monkeypatch.setattr(single_rows, "_has_single", lambda *_: False)
    second, second_random = prepare(spec_of(folder, 32, 16)), torch.random.get_rng_state()
    assert len(tried) == 1
    assert torch.equal(first_random, second_random)
    pairs = zip(first.model.named_buffers(), second.model.named_buffers(), strict=True)
    assert all(name == other and torch.equal(one, two) for (name, one), (other, two) in pairs)
    modes = [[module.training for module in setup.model.modules()] for setup in (first, second)]
    assert modes[0] == modes[1]
