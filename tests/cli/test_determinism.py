"""Locks, differences and imports are the same to the byte in every process, locale and folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.rooms import GOOD, Room

CONFIG = "0:\n  params: [classifier.*]\n1:\n  params: [bert.encoder.*, 'bert.embeddings.*']\n  lr: 1e-4\n"
# Another order of sets, another encoding and language, another time zone.
SURROUNDINGS = [
    {"PYTHONHASHSEED": "1", "LC_ALL": "C", "PYTHONUTF8": "0", "TZ": "UTC"},
    {"PYTHONHASHSEED": "2", "LC_ALL": "C.UTF-8", "LANGUAGE": "de", "TZ": "Asia/Tokyo"},
]
COMMANDS = {
    "lock": ["lock", "good.toml"],
    "diff": ["diff", "good.toml", "other.toml", "--format", "markdown"],
    "diff as json": ["diff", "good.toml", "other.toml", "--format", "json"],
    "import": ["import", "schedule.yaml", "--model", "model.safetensors"],
    "show": ["show", "good.toml", "--format", "json"],
    "fmt": ["fmt", "loose.toml"],
}
WRITTEN = {"lock": "good.lock", "fmt": "loose.toml"}


@pytest.fixture
def rooms(room: Room, tmp_path_factory: pytest.TempPathFactory) -> list[Room]:
    """Two folders of different names and depths that hold the same files."""
    room.write("other.toml", GOOD.replace("[-2:]", "[-1:]").replace("3e-4", "2e-4"))
    room.write("schedule.yaml", CONFIG)
    room.write("loose.toml", GOOD.replace(" = ", "="))
    deep = Path(tmp_path_factory.mktemp("elsewhere"), "a b", "ä")
    shutil.copytree(room.path, deep)
    return [room, Room(deep)]


@pytest.mark.parametrize("what", COMMANDS)
def test_it_is_the_same_wherever_it_runs(rooms: list[Room], what: str) -> None:
    done = [room.start(*COMMANDS[what], **around) for room, around in zip(rooms, SURROUNDINGS, strict=True)]
    assert done[0] == done[1] and done[0].status in (0, 1) and done[0].stdout
    if what in WRITTEN:
        one, two = ((room.path / WRITTEN[what]).read_bytes() for room in rooms)
        assert one == two
