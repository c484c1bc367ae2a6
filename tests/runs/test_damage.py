"""Damaged files of a run: found by ``verify``, never answered from, never gone on from to other bits.

``python -m benchmarks.damage`` does so for every file in every way; here each file gets a few.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.damage import (
    WAYS,
    Runs,
    damaged,
    files_of,
    make_runs,
    of_predict,
    of_resume,
    of_verify,
    undetected,
)
from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.sealed import sealed_text
from freezeplan.runs.checkpoints.contents import check_contents
from freezeplan.runs.checkpoints.store import CheckpointStore
from freezeplan.runs.events import EpochDone, Event
from freezeplan.runs.readable import readable
from freezeplan.runs.verify import verify_run
from freezeplan.train.run import train
from tests.runs.changing import reseal
from tests.train.phased import stopping

PER_FILE = 2


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return make_runs(tmp_path_factory.mktemp("damage"))


def test_every_file_that_is_damaged_is_found(runs: Runs, tmp_path: Path) -> None:
    ways, bad = list(WAYS), []
    for run in (runs.finished, runs.stopped):
        for index, file in enumerate(files_of(run)):
            for way in (ways[(index * PER_FILE + turn) % len(ways)] for turn in range(PER_FILE)):
                found = of_verify(damaged(run, file, WAYS[way], tmp_path))
                bad += [f"{run.name}/{file}, {way}: {found}"] if undetected("verify", found) else []
    assert bad == []


@pytest.mark.parametrize("way", ["middle byte", "swapped"])
def test_no_answer_comes_from_damaged_files(runs: Runs, tmp_path: Path, way: str) -> None:
    files = [file for file in files_of(runs.finished) if not file.startswith("checkpoints/")]
    found = {
        file: of_predict(damaged(runs.finished, file, WAYS[way], tmp_path), runs.answers) for file in files
    }
    assert [file for file, what in found.items() if undetected("predict", what)] == []


@pytest.mark.parametrize(
    ("file", "way"), [("weights/frozen", "middle byte"), ("store/", "last byte"), ("spec.toml", "appended")]
)
def test_no_run_goes_on_from_damaged_files_to_other_bits(
    runs: Runs, tmp_path: Path, file: str, way: str
) -> None:
    name = next(name for name in files_of(runs.stopped) if name.startswith(file))
    copy = damaged(runs.stopped, name, WAYS[way], tmp_path)
    # The copy lies where the run lay: its spec names the data from there.
    place = Path(shutil.move(copy, runs.stopped.with_name("damaged-" + name.replace("/", "-"))))
    assert not undetected("resume", of_resume(place, runs.tree))


@pytest.mark.parametrize(
    "key", ["position", "validation", "weights", "buffers", "identity", "optimizer", "files"]
)
def test_wrong_types_under_a_right_hash_are_a_damaged_checkpoint(
    runs: Runs, tmp_path: Path, key: str
) -> None:
    copy = Path(shutil.copytree(runs.finished, tmp_path / "run"))
    store = CheckpointStore(copy)
    last = store.names()[-1]
    for bad in (None, 5, "x", [], [1], {"a": 1}):
        reseal(store.folder / last / "state.json", lambda state, bad=bad: state.update({key: bad}))
        _, reasons = store.newest(check_contents)
        assert last in reasons, bad


def test_a_record_is_the_very_text_that_was_written() -> None:
    record: dict[str, Any] = {"step": 3, "scores": {"loss": 1e-05, "text": "é"}}
    text = sealed_text(record)
    assert sealed_text(json.loads(text)) == text
    assert sealed_text(record | {"step": 4}) != text


def test_a_folder_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError, match="permission denied") as caught, readable(tmp_path):
        raise PermissionError(13, "Permission denied", "state.json")
    assert [item.code for item in caught.value.diagnostics] == ["FP521"]


@pytest.mark.parametrize("name", ["weights", "run.json"])
def test_what_is_removed_under_a_run_comes_back_or_is_said(toy: Path, tmp_path: Path, name: str) -> None:
    out, seen = tmp_path / "run", []

    def remove(event: Event) -> None:
        if isinstance(event, EpochDone) and not seen:
            seen.append(event)
            shutil.rmtree(out / name) if name == "weights" else (out / name).unlink()

    spec = stopping(toy, stop_when=None, keep_last=1)
    if name == "weights":
        assert train(spec, out, remove).status == "finished"
        assert verify_run(out).diagnostics == ()
    else:
        with pytest.raises(DiagnosticError, match="somebody has removed"):
            train(spec, out, remove)
