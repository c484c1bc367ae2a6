"""Laws of the structure found, over the architectures of transformers: a sample always, half of all when slow.

`python -m benchmarks.architectures --all-types` holds them to every class; it takes too long for each change.
"""

from __future__ import annotations

import zlib

import pytest

from benchmarks.building import every_class
from benchmarks.every_type import describe

SHARDS = 120
PARTS = 24


def sample() -> list[tuple[str, str]]:
    """Return about one class in a hundred, spread over the types."""
    return [key for key in every_class() if zlib.crc32("/".join(key).encode()) % SHARDS == 1]


@pytest.mark.parametrize("key", sample(), ids="/".join)
def test_laws_hold_on_a_sample(key: tuple[str, str]) -> None:
    entry = describe(key)
    assert entry.error or entry.broken == {}


@pytest.mark.slow
def test_laws_hold_on_one_class_in_24() -> None:
    keys = [key for key in every_class() if zlib.crc32("/".join(key).encode()) % PARTS == 0]
    entries = [describe(key) for key in keys]
    assert {entry.class_name: entry.broken for entry in entries if entry.broken} == {}
    assert sum(not entry.error for entry in entries) > 1000 // PARTS
