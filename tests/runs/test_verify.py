"""``verify`` re-checks a run's folder: whatever is changed in it shows, and nothing else does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from freezeplan.diagnostics import DiagnosticError
from freezeplan.runs.events import EpochDone
from freezeplan.runs.verify import Verified, verify_run
from freezeplan.train.run import train
from tests.train.phased import every_kind
from tests.train.test_resume import stop_at


@pytest.fixture(scope="module")
def finished(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify") / "run"
    train(every_kind(toy), folder)
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def codes(found: Verified) -> list[str]:
    return [item.code for item in found.diagnostics]


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def forget_hash(folder: Path, name: str) -> None:
    """Take a file out of the list in ``run.json``, as if whoever changed it had changed the list too."""
    rewrite(folder / "run.json", lambda run: run["files"].pop(name))


def test_a_finished_run_is_verified(finished: Path) -> None:
    found = verify_run(finished)
    assert (found.holds, codes(found), found.status) == (True, [], "finished")
    assert "in each of 5 phases, all that it froze is bit-identical" in found.statement
    assert found.files == len([item for item in finished.iterdir() if item.is_file()]) - 1


def test_every_file_that_is_changed_or_gone_shows(copy: Path) -> None:
    (copy / "metrics.jsonl").write_text("{}\n")
    (copy / "config.json").unlink()
    found = verify_run(copy)
    assert codes(found) == ["FP550", "FP550"] and not found.holds
    assert {"`config.json` is missing"} < {item.message for item in found.diagnostics}


def test_a_frozen_tensor_that_was_changed_later_shows(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["backbone.pooler.dense.weight"][0, 0] += 1e-6
    save_file(tensors, copy / "model.safetensors")
    forget_hash(copy, "model.safetensors")
    (found,) = verify_run(copy).diagnostics
    assert (found.code, found.notes) == ("FP552", ("`backbone.pooler.dense.weight`",))
    assert "1 tensor, 1 of them frozen" in found.message


def test_a_tensor_that_is_gone_shows(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    del tensors["heads.topic.linear.bias"]
    save_file(tensors, copy / "model.safetensors")
    forget_hash(copy, "model.safetensors")
    assert codes(verify_run(copy)) == ["FP552"]


def test_weights_of_another_epoch_show(copy: Path, toy: Path, tmp_path: Path) -> None:
    train(every_kind(toy), tmp_path / "other", stop_at(1, (EpochDone,)))
    shutil.copy(tmp_path / "other" / "model.safetensors", copy)
    assert codes(verify_run(copy)) == ["FP550", "FP552"]


def test_another_plan_shows(copy: Path) -> None:
    rewrite(copy / "plan.json", lambda plan: plan["groups"][0].update(lr=[1.0] * 5))
    forget_hash(copy, "plan.json")
    assert codes(verify_run(copy)) == ["FP551"]


def claim(evidence: dict[str, Any]) -> None:
    evidence["statement"] = "all is well"


def hide(evidence: dict[str, Any]) -> None:
    next(item for item in evidence["tensors"] if item["name"].startswith("backbone.pooler"))["frozen"] = False


def break_chain(evidence: dict[str, Any]) -> None:
    evidence["phases"][1]["tensors"][0]["before"] = "0" * 64


def unfreeze_in_a_phase(evidence: dict[str, Any]) -> None:
    evidence["phases"][0]["tensors"][0]["frozen"] = False


def move_in_a_phase(evidence: dict[str, Any]) -> None:
    item = evidence["phases"][0]["tensors"][0]
    item["after"] = evidence["phases"][1]["tensors"][0]["before"] = "0" * 64
    evidence["phases"][1]["tensors"][0]["after"] = evidence["phases"][2]["tensors"][0]["before"]


@pytest.mark.parametrize("change", [claim, hide, break_chain, unfreeze_in_a_phase, move_in_a_phase])
def test_evidence_that_was_changed_contradicts_itself(copy: Path, change: Callable[[Any], None]) -> None:
    rewrite(copy / "evidence.json", change)
    forget_hash(copy, "evidence.json")
    (found,) = verify_run(copy).diagnostics
    assert found.code == "FP553" and found.notes


def test_a_run_that_was_stopped_is_a_warning(toy: Path, tmp_path: Path) -> None:
    train(every_kind(toy), tmp_path / "run", stop_at(2, (EpochDone,)))
    found = verify_run(tmp_path / "run")
    assert (codes(found), found.holds, found.status) == (["FP554"], True, "interrupted")


def test_a_crash_between_two_files_of_the_folder_shows(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    out, replace = tmp_path / "run", os.replace

    def crash(old: Path, new: Path) -> None:
        if Path(new) == out / "run.json":
            raise OSError(5, "Input/output error")
        replace(old, new)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(DiagnosticError):
        train(every_kind(toy), out)
    monkeypatch.undo()
    assert {"FP550"} <= set(codes(verify_run(out)))


@pytest.mark.parametrize("name", ["plan.json", "evidence.json", "run.json"])
def test_files_that_cannot_be_read_are_said(copy: Path, name: str) -> None:
    (copy / name).write_text("{")
    with pytest.raises(DiagnosticError) as caught:
        verify_run(copy)
    assert caught.value.diagnostics[0].code == "FP521"
    (copy / name).write_text('{"statement": ""}')
    with pytest.raises(DiagnosticError) as caught:
        verify_run(copy)
    assert caught.value.diagnostics[0].code == "FP521"


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        verify_run(tmp_path)
    assert caught.value.diagnostics[0].code == "FP520"


def test_hashes_are_of_bits_not_of_values(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["backbone.pooler.dense.bias"] = -torch.zeros_like(tensors["backbone.pooler.dense.bias"])
    save_file(tensors, copy / "model.safetensors")
    forget_hash(copy, "model.safetensors")
    assert codes(verify_run(copy)) == ["FP552"]
