"""One folder, one run: whoever comes second is refused at once, and a killed process holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from freezeplan.diagnostics import DiagnosticError
from freezeplan.runs.claim import check_unclaimed, claimed, lock_of
from freezeplan.runs.events import Event, StepDone
from freezeplan.runs.run_folder import RunFolder
from freezeplan.spec.tables import Spec
from freezeplan.train.resume import resume
from freezeplan.train.run import train
from tests.train.phased import stopping
from tests.train.test_resume import stop_at

HOLD = "import sys, time; from pathlib import Path; from freezeplan.runs.claim import claimed\n"
HOLD += "with claimed(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


def refused(work: Callable[[], object], code: str = "FP505") -> str:
    with pytest.raises(DiagnosticError) as caught:
        work()
    assert [item.code for item in caught.value.diagnostics] == [code]
    return caught.value.diagnostics[0].message


def take(folder: Path) -> None:
    with claimed(folder):
        pass


def test_a_folder_is_held_until_the_block_ends_and_leaves_no_trace(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    with claimed(folder) as held:
        assert held and lock_of(folder).is_file()
        assert refused(lambda: take(folder)).startswith(f"process {os.getpid()} is working")
        take(tmp_path / "runs" / "b")
        refused(lambda: check_unclaimed(folder))
    assert list(tmp_path.iterdir()) == []
    check_unclaimed(folder)
    take(folder)


def test_one_folder_under_two_names_is_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with claimed(tmp_path / "link"):
        refused(lambda: take(tmp_path / "real"))


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    assert refused(lambda: take(folder)) == f"process {process.pid} is working on the run in `{folder}`"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert lock_of(folder).exists()
    take(folder)
    assert list(tmp_path.iterdir()) == []


def test_several_processes_of_one_run_share_what_the_first_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with claimed(tmp_path / "run"):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", "1")
        with claimed(tmp_path / "run") as held:
            assert not held


@pytest.mark.skipif(os.name != "posix" or os.getuid() == 0, reason="root may write anywhere")
def test_a_place_that_takes_no_lock_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "nothing can be written to" in refused(lambda: take(tmp_path / "run"), "FP502")


def test_what_stands_in_the_way_of_a_lock_is_said(tmp_path: Path) -> None:
    lock_of(tmp_path / "run").mkdir()
    assert "nothing can be written to" in refused(lambda: take(tmp_path / "run"), "FP502")
    (tmp_path / "file").write_text("")
    assert "nothing can be written to" in refused(lambda: take(tmp_path / "file" / "run"), "FP502")


def once(work: Callable[[], object]) -> Callable[[Event], None]:
    """Return an observer that does something at the first step."""
    seen: list[Event] = []

    def see(event: Event) -> None:
        if isinstance(event, StepDone) and not seen:
            seen.append(event)
            work()

    return see


def short(toy: Path) -> Spec:
    return stopping(toy, stop_when=None, checkpoint_steps=3)


def test_a_second_run_is_refused_while_the_first_has_no_folder_yet(toy: Path, tmp_path: Path) -> None:
    out, said = tmp_path / "run", []
    result = train(
        short(toy), out, once(lambda: said.append(refused(lambda: train(short(toy), out, overwrite=True))))
    )
    assert (result.status, len(said)) == ("finished", 1)


def test_a_second_resume_is_refused_and_the_first_ends_as_ever(toy: Path, tmp_path: Path) -> None:
    out, said = tmp_path / "run", []
    train(short(toy), out, stop_at(8))
    refusals = (lambda: resume(out), lambda: train(short(toy), out, overwrite=True))
    result = resume(out, once(lambda: said.extend(refused(work) for work in refusals)))
    assert (result.status, len(said)) == ("finished", 2)


def test_what_killed_processes_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    (tmp_path / ".run.partial-99").mkdir()
    (tmp_path / ".run.partial-99" / "half").write_text("")
    (tmp_path / ".running.partial-99").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.partial-98").mkdir()
    folder = RunFolder(tmp_path / "run")
    with folder.claimed():
        folder.check_free()
        assert sorted(item.name for item in tmp_path.iterdir()) == [".run.lock", ".running.partial-99", "run"]
        assert list(folder.path.iterdir()) == []


def test_a_folder_that_a_killed_process_had_moved_away_comes_back(tmp_path: Path) -> None:
    (tmp_path / ".run.replaced-99").mkdir()
    (tmp_path / ".run.replaced-99" / "run.json").write_text('{"status": "interrupted"}')
    (tmp_path / ".run.partial-99").mkdir()
    with RunFolder(tmp_path / "run").claimed():
        pass
    assert [item.name for item in tmp_path.rglob("*")] == ["run", "run.json"]


def test_a_run_that_finished_there_meanwhile_is_never_replaced(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", overwrite=True)
    folder.check_free()
    folder.path.mkdir()
    (folder.path / "run.json").write_text('{"status": "finished"}')
    refused(lambda: folder.publish(lambda place: (place / "run.json").write_text("{}")), "FP501")
    assert [item.name for item in tmp_path.rglob("*")] == ["run", "run.json"]
