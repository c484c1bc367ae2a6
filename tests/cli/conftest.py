from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.rooms import BAD, FROZEN, GOOD, SHAPES, Room, header


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """A folder with a model's header and a good, a bad and an all-frozen spec."""
    room = Room(tmp_path)
    room.write("model.safetensors", header(SHAPES))
    room.write("good.toml", GOOD)
    room.write("bad.toml", BAD)
    room.write("frozen.toml", FROZEN)
    return room
