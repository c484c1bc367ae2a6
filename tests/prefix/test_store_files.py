"""Files are bounded, atomic, found again, and refused when anything about them is wrong."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from freezeplan.models.sealed import write_sealed
from freezeplan.prefix import PrefixStore, Reason, StoreSettings, parse_bytes
from freezeplan.prefix.examples import Examples
from freezeplan.prefix.files import StoreFile, checksum, remove_partial_files
from freezeplan.prefix.keys import store_key
from freezeplan.spec.amounts import DEFAULT_BUDGET
from tests.prefix.running import Data
from tests.prefix.stores import TINY, encoded, made, phases, refused, replayed, uncached


def test_beyond_the_budget_entries_lie_in_a_file_and_give_the_same_bits(tmp_path: Path) -> None:
    model, data, cut, store = made(StoreSettings(budget=TINY, folder=tmp_path / "store"))
    in_memory = PrefixStore(model, data.sources, data.batch)
    for each in (store, in_memory):
        each.prepare([cut])
    assert store.held["k=2"].entries.path == tmp_path / "store" / "k2.bin"
    assert (tmp_path / "store" / "k2.bin").stat().st_size == store.nbytes
    assert torch.equal(replayed(store, cut, data), replayed(in_memory, cut, data))


def test_a_run_that_starts_again_finds_its_file(tmp_path: Path) -> None:
    settings = StoreSettings(budget=TINY, folder=tmp_path)
    _, data, cut, store = made(settings)
    store.prepare([cut])
    expected = replayed(store, cut, data)
    model, data, cut, again = made(settings)
    assert again.prepare([cut]).found == ("k=2",)
    assert torch.equal(replayed(again, cut, data), expected)


def spoil_weights(store: PrefixStore, data: Data, path: Path) -> None:
    with torch.no_grad():
        store.model.backbone.embedding.weight.add_(1.0)


def spoil_inputs(store: PrefixStore, data: Data, path: Path) -> None:
    store.examples = Examples({"topic": encoded([[7], *data.ids][:12])})
    store.examples.entries["topic"] = numpy.arange(12)


def spoil_a_byte(store: PrefixStore, data: Data, path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)


def spoil_length(store: PrefixStore, data: Data, path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4)


def spoil_record(store: PrefixStore, data: Data, path: Path) -> None:
    path.with_suffix(".json").write_text("{", "utf-8")


def spoil_version(store: PrefixStore, data: Data, path: Path) -> None:
    record = json.loads(path.with_suffix(".json").read_text("utf-8"))
    record["key"]["libraries"] = "torch 1.0"
    write_sealed(path.with_suffix(".json"), {key: value for key, value in record.items() if key != "sha256"})


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (spoil_weights, "made from other weights"),
        (spoil_inputs, "made from other inputs"),
        (spoil_a_byte, "altered"),
        (spoil_length, "altered"),
        (spoil_record, "unreadable"),
        (spoil_version, "made from other libraries"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named_and_made_anew(
    tmp_path: Path, spoil: Any, fault: str
) -> None:
    settings = StoreSettings(budget=TINY, folder=tmp_path)
    _, _, cut, store = made(settings)
    store.prepare([cut])
    model, data, cut, again = made(settings)
    spoil(again, data, tmp_path / "k2.bin")
    if spoil is spoil_inputs:
        assert (
            StoreFile(tmp_path, "k=2").fault(store_key(model, cut, again.examples.digest, torch.float32, {}))
            == fault
        )
        return
    found = again.prepare([cut])
    assert (found.built, dict(found.rebuilt)) == (("k=2",), {"k=2": fault})
    assert torch.allclose(replayed(again, cut, data), uncached(model, data), atol=1e-6)


def test_a_file_that_is_written_to_while_it_is_in_use_is_refused_and_made_anew(tmp_path: Path) -> None:
    model, data, cut, store = made(StoreSettings(budget=TINY, folder=tmp_path))
    store.prepare([cut])
    with (tmp_path / "k2.bin").open("r+b") as file:
        file.truncate(8)
    assert refused(lambda: replayed(store, cut, data)).reason is Reason.STORE_CHANGED
    assert store.prepare([cut]).built == ("k=2",)
    assert torch.allclose(replayed(store, cut, data), uncached(model, data), atol=1e-6)


def test_a_budget_that_is_too_small_is_refused_with_the_numbers() -> None:
    _, _, cut, store = made(StoreSettings(budget=TINY))
    found = refused(lambda: store.prepare([cut]))
    assert found.statement == (
        "no store: the budget is too small (2.5 KiB are needed, 64 B allowed, and there is no folder for a file)"
    )


def test_a_disk_without_room_is_refused_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freezeplan.prefix.store.free_bytes", lambda folder: 100)
    _, _, cut, store = made(StoreSettings(budget=TINY, folder=tmp_path))
    store.make_batch = lambda *_: pytest.fail("something was computed")
    found = refused(lambda: store.prepare([cut]))
    assert found.reason is Reason.BUDGET and found.detail.endswith(f"`{tmp_path}` has 100 B free")


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the operating system refuse files beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    _, _, cut, store = made(StoreSettings(budget=TINY, folder=tmp_path))
    with largest_file(1000):
        found = refused(lambda: store.prepare([cut]))
    assert found.reason is Reason.DISK and "must take 2.5 KiB" in found.detail
    assert list(tmp_path.iterdir()) == [] and store.held == {}


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("mine")
    _, _, cut, store = made(StoreSettings(budget=TINY, folder=tmp_path / "store"))
    assert refused(lambda: store.prepare([cut])).reason is Reason.DISK
    assert (tmp_path / "store").read_text() == "mine"


@pytest.mark.parametrize("folder", [True, False])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_build_that_is_cut_short_leaves_nothing_behind(
    tmp_path: Path, error: type[BaseException], folder: bool
) -> None:
    settings = StoreSettings(budget=TINY, folder=tmp_path) if folder else StoreSettings()
    model, data, cut, store = made(settings)
    before = [sorted(module.__dict__) for module in model.modules()]

    def stop(done: int, total: int) -> None:
        assert not folder or len(list(tmp_path.iterdir())) == 1
        if done > 5:
            raise error

    with pytest.raises(error):
        store.prepare([cut], batch_size=5, progress=stop)
    assert list(tmp_path.iterdir()) == [] and store.held == {}
    assert [sorted(module.__dict__) for module in model.modules()] == before
    assert all(module.training for module in model.modules())
    store.prepare([cut], batch_size=5)
    assert torch.allclose(replayed(store, cut, data), uncached(model, data), atol=1e-6)


def test_what_a_killed_build_left_is_never_valid_and_goes_with_the_next(tmp_path: Path) -> None:
    gone = 2**22 + 1
    (tmp_path / f".k2.bin.partial-{gone}").write_bytes(b"half")
    (tmp_path / "k2.bin").write_bytes(b"numbers without a record")
    alive = tmp_path / f".k2.bin.partial-{os.getpid()}0"
    _, data, cut, store = made(StoreSettings(budget=TINY, folder=tmp_path))
    assert store.prepare([cut]).built == ("k=2",)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k2.bin", "k2.json"]
    mine = tmp_path / f".k3.bin.partial-{os.getpid()}"
    mine.write_bytes(b"")
    remove_partial_files(tmp_path)
    assert mine.exists() and not alive.exists()


@pytest.mark.parametrize("moves", [0, 1])
def test_a_build_that_ends_while_its_files_are_put_in_place_is_not_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    settings = StoreSettings(budget=TINY, folder=tmp_path)
    model, data, cut, store = made(settings)
    store.prepare([cut])
    with torch.no_grad():
        model.backbone.embedding.weight.mul_(0.5)
    key = store_key(model, cut, store.examples.digest, torch.float32, {})
    left, replace = [None] * moves, os.replace

    def stop(source: Path, target: Path) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        replace(source, target)

    monkeypatch.setattr(store, "drop", lambda name: store.held.pop(name))
    monkeypatch.setattr(StoreFile, "remove", lambda self: None)
    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        store.prepare([cut])
    assert StoreFile(tmp_path, "k=2").fault(key) is not None
    # Nor do the old record's numbers pass for what they were.
    assert (
        moves == 0 or checksum(tmp_path / "k2.bin") != json.loads((tmp_path / "k2.json").read_text())["crc32"]
    )


def test_several_files_are_made_in_one_pass(tmp_path: Path) -> None:
    model, data, _, store = made(StoreSettings(budget=TINY, folder=tmp_path), frozen=4)
    cuts = phases(model, data, 4, 2)
    assert store.prepare(cuts).built == ("k=4", "k=2")
    assert {path.name for path in tmp_path.iterdir()} == {"k2.bin", "k2.json", "k4.bin", "k4.json"}
    for cut in cuts:
        assert torch.allclose(replayed(store, cut, data), uncached(model, data), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GiB", 2**31), ("1 kB", 1000), ("0.5 MiB", 2**19), ("7", 7), ("3b", 3), (" 1TiB ", 2**40)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "2 GB B", "-1GiB", "two", "1e3", "2PiB"])
def test_other_texts_are_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="no amount of memory"):
        parse_bytes(text)


def test_the_default_is_a_size() -> None:
    assert StoreSettings().budget == parse_bytes(DEFAULT_BUDGET) == 2**31
