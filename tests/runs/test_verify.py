"""``verify`` re-checks a run's folder: whatever is changed in it shows, and nothing else does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.models.sources import inventory_for
from freezeplan.runs.checkpoints.store import CheckpointStore
from freezeplan.runs.events import EpochDone
from freezeplan.runs.verify import Verified, verify_run
from freezeplan.spec.tables import Spec
from freezeplan.train.resume import resume
from freezeplan.train.run import train
from freezeplan.train.saved_run import load_run
from tests.runs.changing import accept, change_tensors, flip_a_bit, reseal, rewrite, tensors_file
from tests.train.phased import every_kind, stopping
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


def of_code(found: Verified, code: str) -> Diagnostic:
    return next(item for item in found.diagnostics if item.code == code)


def test_a_finished_run_is_verified(finished: Path) -> None:
    found = verify_run(finished)
    assert (found.holds, codes(found), found.status) == (True, [], "finished")
    assert "in each of 5 phases, all that it froze is bit-identical" in found.statement
    assert found.files >= len([item for item in finished.rglob("*") if item.is_file()]) - 1


def test_every_file_that_is_changed_or_gone_shows(copy: Path) -> None:
    (copy / "metrics.jsonl").write_text("{}\n")
    (copy / "config.json").unlink()
    found = verify_run(copy)
    assert set(codes(found)) == {"FP550"} and not found.holds
    assert {"`config.json` is missing"} < {item.message for item in found.diagnostics}


def test_a_frozen_tensor_that_was_changed_later_shows(copy: Path) -> None:
    name = "backbone.pooler.dense.weight"
    change_tensors(copy, name, lambda tensors: tensors[name][0, 0].add_(1e-6))
    found = of_code(verify_run(copy), "FP552")
    assert found.notes == ("`backbone.pooler.dense.weight`",)
    assert "1 tensor, 1 of them frozen" in found.message


def test_a_tensor_that_is_gone_shows(copy: Path) -> None:
    change_tensors(copy, "heads.topic.linear.bias", lambda tensors: tensors.pop("heads.topic.linear.bias"))
    assert of_code(verify_run(copy), "FP552").notes == ("`heads.topic.linear.bias`",)


def test_weights_of_another_epoch_show(copy: Path, toy: Path, tmp_path: Path) -> None:
    train(every_kind(toy), tmp_path / "other", stop_at(1, (EpochDone,)))
    shutil.copy(tensors_file(tmp_path / "other"), tensors_file(copy))
    assert {"FP550", "FP552"} == set(codes(verify_run(copy)))


def test_another_plan_shows(copy: Path) -> None:
    rewrite(copy / "plan.json", lambda plan: plan["groups"][0].update(lr=[1.0] * 5))
    accept(copy, "plan.json")
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
    accept(copy, "evidence.json")
    (found,) = verify_run(copy).diagnostics
    assert found.code == "FP553" and found.notes


def test_a_run_that_was_stopped_is_a_warning(toy: Path, tmp_path: Path) -> None:
    train(every_kind(toy), tmp_path / "run", stop_at(2, (EpochDone,)))
    found = verify_run(tmp_path / "run")
    assert (codes(found), found.holds, found.status) == (["FP554"], True, "interrupted")


@pytest.mark.parametrize("name", ["evidence.json", "run.json"])
def test_a_crash_between_two_files_of_the_folder_leaves_one_state(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    out, replace = tmp_path / "run", os.replace

    def crash(old: Path, new: Path) -> None:
        if Path(new) == out / name:
            raise OSError(5, "Input/output error")
        replace(old, new)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(DiagnosticError):
        train(stopping(toy, stop_when=None), out)
    monkeypatch.undo()
    assert (out / ".next" / "run.json").is_file()
    assert codes(verify_run(out)) == ["FP554"]
    assert resume(out).status == "finished"
    assert (codes(verify_run(out)), (out / ".next").exists()) == ([], False)


@pytest.mark.parametrize("name", ["plan.json", "evidence.json", "run.json"])
def test_files_that_cannot_be_read_are_said(copy: Path, name: str) -> None:
    (copy / name).write_text("{")
    with pytest.raises(DiagnosticError) as caught:
        verify_run(copy)
    assert caught.value.diagnostics[0].code == "FP521"
    (copy / name).write_text('{"statement": ""}')
    if name == "plan.json":
        assert {"FP550", "FP551", "FP553"} == set(codes(verify_run(copy)))
        return
    with pytest.raises(DiagnosticError) as caught:
        verify_run(copy)
    assert caught.value.diagnostics[0].code == "FP521"


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        verify_run(tmp_path)
    assert caught.value.diagnostics[0].code == "FP520"
    (tmp_path / "run.toml").write_text("")
    with pytest.raises(DiagnosticError, match=r"is not the folder of a run: it is a file"):
        verify_run(tmp_path / "run.toml")


def test_hashes_are_of_bits_not_of_values(copy: Path) -> None:
    name = "backbone.pooler.dense.bias"
    change_tensors(copy, name, lambda tensors: tensors[name].neg_())
    assert of_code(verify_run(copy), "FP552").notes == (f"`{name}`",)


def rotate(run: dict[str, Any]) -> None:
    labels = run["tasks"]["topic"]["labels"]
    labels.append(labels.pop(0))


@pytest.mark.parametrize(
    "change", [rotate, lambda run: run.update(pooling="cls"), lambda run: run.update(files={})]
)
def test_a_changed_record_is_refused_by_all_who_read_it(copy: Path, change: Callable[[Any], None]) -> None:
    rewrite(copy / "run.json", change)
    for read in (verify_run, load_run, lambda folder: inventory_for(Spec(model={"source": str(folder)}))):
        with pytest.raises(DiagnosticError, match="`run.json` is not what was written"):
            read(copy)


def test_a_record_that_lists_no_files_is_refused_whatever_its_hash(copy: Path) -> None:
    reseal(copy / "run.json", lambda run: run.update(files={}))
    with pytest.raises(DiagnosticError, match="lists no files"):
        verify_run(copy)


@pytest.mark.parametrize("name", ["spec.toml", "evidence.json", "metrics.jsonl", "config.json"])
def test_what_every_run_has_must_be_listed(copy: Path, name: str) -> None:
    reseal(copy / "run.json", lambda run: run["files"].pop(name))
    assert f"`run.json` does not list `{name}`" in [item.message for item in verify_run(copy).diagnostics]


def test_files_of_strangers_are_said(copy: Path) -> None:
    (copy / "notes.txt").write_text("mine")
    (copy / "checkpoints" / "more").mkdir()
    (copy / "checkpoints" / "more" / "of it").write_text("mine")
    found = verify_run(copy)
    assert (codes(found), found.holds) == (["FP559"], True)
    assert found.diagnostics[0].notes == ("`checkpoints/more/of it`", "`notes.txt`")


def test_checkpoints_are_checked_both_ways(copy: Path) -> None:
    first, last = (copy / "checkpoints" / name for name in CheckpointStore(copy).names())
    shutil.rmtree(first)
    flip_a_bit(last / "optimizer.safetensors")
    shutil.copytree(last, copy / "checkpoints" / "step-00000099")
    messages = [item.message for item in verify_run(copy).diagnostics]
    assert f"checkpoint `{first.name}` is missing" in messages
    assert "checkpoint `step-00000099` is none that the run ended with" in messages
    assert any(f"checkpoint `{last.name}` is damaged: `optimizer" in message for message in messages)


def test_a_log_that_goes_on_behind_the_end_shows(copy: Path) -> None:
    with (copy / "metrics.jsonl").open("a") as file:
        file.write("\n")
    (found,) = verify_run(copy).diagnostics
    assert (found.code, "goes on for 1 byte" in found.message) == ("FP550", True)


def deep(path: Path) -> None:
    path.write_text('{"a":' * 100_000 + "1" + "}" * 100_000)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [deep, pipe, folder, Path.unlink])
def test_whatever_stands_in_a_files_place_is_said_by_all_who_read_it(
    copy: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    for name in ("run.json", "plan.json", "evidence.json", "config.json", "times.json"):
        place = Path(shutil.copytree(copy, tmp_path / f"{name}-copy"))
        damage(place / name)
        try:
            assert "FP550" in codes(verify_run(place))
        except DiagnosticError as error:
            assert {item.code for item in error.diagnostics} & {"FP520", "FP521", "FP550"}
        if name in ("run.json", "config.json"):
            with pytest.raises(DiagnosticError):
                load_run(place)


def test_wrong_types_in_a_record_with_a_right_hash_are_no_internal_error(copy: Path) -> None:
    rewrite(copy / "evidence.json", lambda evidence: evidence.update(tensors=[1, None]))
    accept(copy, "evidence.json")
    with pytest.raises(DiagnosticError, match="does not hold what a run writes"):
        verify_run(copy)
