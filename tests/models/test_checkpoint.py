"""Which files are opened for weights: safetensors of the source's own, whatever an index or a config says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.models import loading
from freezeplan.models.checkpoint import INDEX, SINGLE
from freezeplan.models.loading import load_model
from tests.models.sources import saved, spec_of, tiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def no_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where anything is unpickled, even in torch's careful way."""

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a pickle was loaded")

    monkeypatch.setattr(torch, "load", refuse)


def sharded(folder: Path, first: str = "model-1.safetensors", second: str = "model-2.safetensors") -> Path:
    """Save a tiny model whose weights are in two files with an index."""
    saved(folder)
    tensors = load_file(folder / SINGLE)
    (folder / SINGLE).unlink()
    names = sorted(tensors)
    parts = {first: names[::2], second: names[1::2]}
    for file, held in parts.items():
        save_file({name: tensors[name] for name in held}, folder / file, metadata={"format": "pt"})
    weight_map = {name: file for file, held in parts.items() for name in held}
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return folder


def refused(folder: Path, **model: str) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        load_model(spec_of({"source": str(folder), **model}))
    (problem,) = caught.value.diagnostics
    return problem


def test_a_checkpoint_in_several_files_is_loaded(tmp_path: Path) -> None:
    model, record = load_model(spec_of({"source": str(sharded(tmp_path))}))
    assert torch.equal(model.pooler.dense.weight, tiny().pooler.dense.weight) and record.fresh == ()


@pytest.mark.parametrize(
    "name",
    ["model-2.bin", "../other/model-2.safetensors", "a/../model-2.safetensors", "..", "x.safetensors\0"],
)
def test_an_index_names_safetensors_files_beside_it_or_is_refused(name: str, tmp_path: Path) -> None:
    folder = sharded(tmp_path / "model")
    (folder / "a").mkdir()
    (tmp_path / "other").mkdir()
    torch.save({}, folder / "model-2.bin")
    save_file({"x": torch.zeros(1)}, tmp_path / "other" / "model-2.safetensors")
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"] |= {key: name for key in list(index["weight_map"])[:3]}
    (folder / INDEX).write_text(json.dumps(index))
    problem = refused(folder)
    assert problem.code == "FP168" and "safetensors files beside it" in problem.message


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{}", "[]", '{"weight_map": [1]}', '{"weight_map": {"a": 1}}', "\xff"]
)
def test_an_index_that_is_none_is_a_diagnostic(text: str, tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    (folder / INDEX).write_text(text, "latin-1")
    problem = refused(folder)
    assert problem.code == "FP168" and "cannot be read" in problem.message


def test_a_file_of_the_index_that_is_not_there_is_named(tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    (folder / "model-2.safetensors").unlink()
    assert refused(folder).message.endswith("has no model-2.safetensors")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("strange", [pipe, endless])
@pytest.mark.parametrize(
    "name",
    [SINGLE, "config.json", "tokenizer.json", "vocab.txt", "run.json", "generation_config.json", INDEX],
)
def test_a_pipe_or_a_device_in_a_model_s_folder_is_refused_at_once(
    name: str, strange: Callable[[Path], None], tmp_path: Path
) -> None:
    folder = saved(tmp_path)
    (folder / name).touch()
    strange(folder / name)
    problem = refused(folder)
    assert problem.code == "FP176" and f"{name}` is a pipe or a device" in problem.message


def test_a_config_or_a_weights_file_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    os.mkfifo(tmp_path / "pipe.safetensors")
    for model, code in (
        ({"architecture": str(tmp_path / "pipe.json")}, "FP152"),
        ({"source": str(tmp_path / "pipe.safetensors"), "architecture": "bert"}, "FP160"),
    ):
        with pytest.raises(DiagnosticError, match=f"{code}.*it is a pipe, not a file"):
            load_model(spec_of(model))


@pytest.mark.parametrize(
    ("name", "code"), [(SINGLE, "FP168"), ("config.json", "FP152"), ("run.json", "FP164")]
)
def test_a_file_that_may_not_be_read_is_named_with_the_reason(
    name: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path)
    (folder / name).touch()
    real = os.open

    def deny(path: object, *rest: int) -> int:
        if str(path).endswith(name):
            raise PermissionError(13, "Permission denied")
        return real(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", deny)
    problem = refused(folder)
    assert problem.code == code and name in problem.message and "permission denied" in problem.message


def test_an_adapter_of_peft_is_refused_with_a_way_out(tmp_path: Path) -> None:
    """Transformers would load the weights of the model that the adapter names, from wherever that is."""
    folder = saved(tmp_path)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "/elsewhere"}')
    problem = refused(folder)
    assert problem.code == "FP168" and "merge_and_unload" in (problem.help or "")


def test_a_config_cannot_send_the_loading_elsewhere(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"transformers_weights": "adapter_model.bin"}))
    model, _ = load_model(spec_of({"source": str(folder)}))
    assert torch.equal(model.pooler.dense.weight, tiny().pooler.dense.weight)


def in_hub_cache(cache: Path, model: Path) -> Path:
    """Lay out a model's files as the hub's cache does: blobs by their hash, and a snapshot of links to them."""
    repo = cache / "models--owner--name"
    snapshot = repo / "snapshots" / COMMIT
    for folder in (repo / "blobs", repo / "refs", snapshot):
        folder.mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    for number, file in enumerate(sorted(model.iterdir())):
        file.rename(repo / "blobs" / f"{number:040}")
        (snapshot / file.name).symlink_to(f"../../blobs/{number:040}")
    return snapshot


@pytest.fixture
def offline_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize("make", [saved, sharded])
def test_a_hub_model_in_the_cache_is_loaded_through_its_links(
    make: Callable[[Path], Path], offline_cache: Path, tmp_path: Path
) -> None:
    in_hub_cache(offline_cache, make(tmp_path / "model"))
    model, _ = load_model(spec_of({"source": "owner/name"}))
    assert torch.equal(model.pooler.dense.weight, tiny().pooler.dense.weight)


def test_the_index_of_a_hub_model_is_not_believed_either(offline_cache: Path, tmp_path: Path) -> None:
    folder = sharded(tmp_path / "model")
    (folder / INDEX).write_text('{"metadata": {}, "weight_map": {"a": "weights.bin"}}')
    torch.save({}, folder / "weights.bin")
    in_hub_cache(offline_cache, folder)
    with pytest.raises(DiagnosticError, match="FP168.*weights.bin"):
        load_model(spec_of({"source": "owner/name"}))


def test_weights_that_were_never_fetched_are_said_to_be_elsewhere(
    offline_cache: Path, tmp_path: Path
) -> None:
    snapshot = in_hub_cache(offline_cache, saved(tmp_path / "model"))
    (snapshot / SINGLE).unlink()
    with pytest.raises(
        DiagnosticError, match="FP156.*are not on this machine, and the hub cannot be reached"
    ):
        load_model(spec_of({"source": "owner/name"}))


def test_nothing_is_asked_of_transformers_before_the_weights_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path)
    (folder / SINGLE).rename(folder / "pytorch_model.bin")
    monkeypatch.setattr(loading, "quiet", None)
    assert "pytorch_model.bin" in refused(folder).message
