"""Only regular files are read, and nothing is waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from freezeplan.outside.regular import UnreadableFile, open_regular, read_regular


def test_a_file_and_a_link_to_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "file", 3) == read_regular(tmp_path / "link", 3) == b"abc"
    with open_regular(tmp_path / "file") as file:
        assert file.read(2) == b"ab"


def test_a_pipe_a_folder_and_a_device_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name, kind in {"pipe": "pipe", "link": "pipe", ".": "folder", "/dev/zero": "device"}.items():
        with pytest.raises(UnreadableFile, match=f"^it is a {kind}, not a file$"):
            read_regular(tmp_path / name)


def test_what_turns_into_a_pipe_between_two_looks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"")
    before = os.stat(tmp_path / "file")
    monkeypatch.setattr(os, "stat", lambda path: before)
    with pytest.raises(UnreadableFile, match="pipe"):
        open_regular(tmp_path / "pipe")


def test_what_is_not_there_too_large_or_not_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "absent")
    with pytest.raises(UnreadableFile, match="larger than 2 bytes"):
        read_regular(tmp_path / "file", 2)
    with pytest.raises(UnreadableFile, match="null"):
        read_regular(Path("a\0b"))

    def deny(*args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(UnreadableFile, match="^permission denied$"):
        read_regular(tmp_path / "file")
