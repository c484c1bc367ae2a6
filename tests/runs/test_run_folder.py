"""Putting files in place: all or nothing, also when Ctrl-C or a full disk comes in between."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.run_record import file_of
from freezeplan.runs.interrupts import interrupt_after
from freezeplan.runs.run_folder import RunFolder


def write(**texts: str):
    def into(folder: Path) -> None:
        for name, text in texts.items():
            (folder / f"{name}.json").write_text(text)

    return into


def contents(folder: Path) -> dict[str, str]:
    return {item.name: item.read_text() for item in folder.iterdir()}


def test_the_first_publication_appears_whole_and_later_ones_replace_files(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.publish(write(run="1", plan="p"))
    assert contents(folder.path) == {"run.json": "1", "plan.json": "p"}
    folder.publish(write(run="2", extra="x"))
    assert contents(folder.path) == {"run.json": "2", "plan.json": "p", "extra.json": "x"}
    assert [item.name for item in tmp_path.iterdir()] == ["run"]


def test_an_existing_folder_stays_the_folder_it_is(tmp_path: Path) -> None:
    target, link = tmp_path / "mount", tmp_path / "link"
    target.mkdir()
    link.symlink_to(target)
    number = target.stat().st_ino
    folder = RunFolder(link)
    folder.check_free()
    for text in ("1", "2"):
        folder.publish(write(run=text))
    assert (contents(target), target.stat().st_ino, link.is_symlink()) == ({"run.json": "2"}, number, True)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["link", "mount"]


def test_the_folder_one_is_in_can_be_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = RunFolder(Path("."))
    folder.check_free()
    folder.publish(write(run="1"))
    assert contents(tmp_path) == {"run.json": "1"}


def test_an_unfinished_run_that_cannot_be_moved_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.json").write_text('{"status": "interrupted"}')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DiagnosticError, match="cannot be moved out of the way") as caught:
        RunFolder(Path("."), overwrite=True).check_free()
    assert [item.code for item in caught.value.diagnostics] == ["FP502"]


def test_an_interrupted_writer_leaves_an_existing_folder_empty(tmp_path: Path) -> None:
    def fail(place: Path) -> None:
        (place / "run.json").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RunFolder(tmp_path).publish(fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_writer_that_fails_changes_nothing(tmp_path: Path, error: BaseException) -> None:
    folder = RunFolder(tmp_path / "run")

    def fail(place: Path) -> None:
        (place / "run.json").write_text("half")
        raise error

    for expected in ({}, {"run.json": "1"}):
        with pytest.raises((DiagnosticError, KeyboardInterrupt)) as caught:
            folder.publish(fail)
        assert isinstance(caught.value, KeyboardInterrupt) == isinstance(error, KeyboardInterrupt)
        assert (contents(folder.path) if folder.path.exists() else {}) == expected
        folder.publish(write(run="1"))
    assert [item.name for item in tmp_path.iterdir()] == ["run"]


def test_a_failed_write_says_what_is_left(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")

    def fail(place: Path) -> None:
        raise OSError(28, "No space left on device")

    notes = []
    for _ in range(2):
        with pytest.raises(DiagnosticError) as caught:
            folder.publish(fail)
        notes.append(caught.value.diagnostics[0].notes)
        folder.publish(write(run="1"))
    assert notes == [
        ("nothing was written",),
        (f"the step that was saved last is still in `{tmp_path / 'run'}`",),
    ]


def test_the_marker_is_put_in_place_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.publish(write(run="1"))
    moved, replace = [], os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: moved.append(Path(new).name) or replace(old, new))
    folder.publish(write(run="2", zebra="z", alpha="a"))
    assert (moved[-1], sorted(moved)) == ("run.json", ["alpha.json", "run.json", "zebra.json"])


def test_a_run_folder_can_be_read_by_those_who_can_read_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    folder = RunFolder(tmp_path / "run")
    folder.publish(write(run="1"))
    assert folder.path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_interrupt_waits_for_the_end_of_the_block() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interrupt_after():
        os.kill(os.getpid(), signal.SIGINT)
        done.append(True)
    assert done == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_where_interrupts_are_ignored_they_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupt_after():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_without_an_interrupt_the_block_just_runs_in_any_thread() -> None:
    done = []

    def work() -> None:
        with interrupt_after():
            done.append(threading.current_thread())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    work()
    assert done == [thread, threading.main_thread()]


def test_an_error_in_the_block_is_not_hidden_by_an_interrupt() -> None:
    with pytest.raises(ValueError), interrupt_after():
        os.kill(os.getpid(), signal.SIGINT)
        raise ValueError


def test_everything_is_on_the_disk_before_one_rename_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, rename, sync = [], os.rename, os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: done.append("sync") or sync(handle))
    monkeypatch.setattr(os, "rename", lambda old, new: done.append(Path(new).name) or rename(old, new))
    folder = RunFolder(tmp_path / "run")
    folder.publish(write(run="1", plan="p"))
    assert done == ["sync", "sync", "sync", "run", "sync"]
    done.clear()
    folder.publish(write(run="2"))
    assert done[:4] == ["sync", "sync", ".next", "sync"]


def test_files_that_were_decided_on_are_moved_by_whoever_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, replace = RunFolder(tmp_path / "run"), os.replace
    folder.publish(write(run="1", plan="p"))

    def crash(old: Path, new: Path) -> None:
        if Path(new).name == "run.json":
            raise OSError(5, "Input/output error")
        replace(old, new)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(DiagnosticError):
        folder.publish(write(run="2", plan="q"))
    monkeypatch.undo()
    assert file_of(folder.path, "run.json").read_text() == "2"
    with RunFolder(tmp_path / "run", started=True).claimed():
        assert contents(folder.path) == {"run.json": "2", "plan.json": "q"}
