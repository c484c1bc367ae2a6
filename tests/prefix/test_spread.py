"""A store that processes share: every row has one owner, and is read as it would be from one process's memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Barrier, Semaphore

import pytest
import torch
import torch.distributed as processes

from freezeplan.prefix.entries import Entries, Layout
from freezeplan.prefix.files import StoreFile
from freezeplan.prefix.keeping import Recording, keeper_for
from freezeplan.prefix.refusal import Reason, Refused
from freezeplan.prefix.spread import Share, SpreadEntries, spread_layout

# Two batches of two entries and one of one; an entry without a row is none.
LAYOUT = Layout((4,), torch.bfloat16, 5, "right", (3, 2, 2, 1, 1))
SIZES = (2, 2, 1)


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    processes.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    processes.destroy_process_group()


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_row_has_one_owner_and_a_place_of_its_own_there(count: int) -> None:
    shares = [spread_layout(LAYOUT, SIZES, Share(number, count)) for number in range(count)]
    first = shares[0]
    assert all(
        torch.equal(first.owner, item.owner) and torch.equal(first.place, item.place) for item in shares
    )
    for number, item in enumerate(shares):
        places = first.place[first.owner == number]
        assert sorted(places.tolist()) == list(range(item.rows))
    assert sum(item.rows for item in shares) == LAYOUT.rows


@pytest.mark.parametrize("count", [1, 2, 3])
def test_all_take_as_many_turns_and_each_batch_is_kept_once(count: int) -> None:
    for batches in range(1, 6):
        turns = [Share(number, count).turns(batches) for number in range(count)]
        assert len({len(item) for item in turns}) == 1
        kept = [number for item in turns for number, keeps in item if keeps]
        assert sorted(kept) == list(range(batches))


def test_what_is_read_is_what_one_process_would_read(group: None) -> None:
    values = torch.randn(LAYOUT.shape).to(LAYOUT.dtype)
    values[-1] = 0.0
    whole = Entries(LAYOUT, values)
    share = Share(0, 1)
    shared = SpreadEntries(LAYOUT, values[:-1], spread=spread_layout(LAYOUT, SIZES, share), share=share)
    inputs = {"attention_mask": torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0]])}
    for entries in ([1, 0, 3], [2, 0, 4]):
        found, expected = (
            item.batch(entries, inputs, torch.device("cpu"), torch.float32) for item in (shared, whole)
        )
        assert torch.equal(found, expected)


CPU = torch.device("cpu")
WHOLE = torch.arange(4 * (LAYOUT.rows + 1)).reshape(LAYOUT.shape).to(LAYOUT.dtype)
WHOLE[-1] = 0.0


STARTS = [0, 5, 8, LAYOUT.rows]


def kept(share: Share, file: StoreFile | None) -> Entries:
    """Keep this process's rows, and return those of both."""
    spread = spread_layout(LAYOUT, SIZES, share)
    keeper = keeper_for(Recording(None, LAYOUT, (), CPU, file), spread, share, CPU)
    for number, _ in share.turns(len(SIZES)):
        keeper.append(WHOLE[STARTS[number] : STARTS[number + 1]])
    return keeper.publish(keeper.finished())


def kept_everywhere(rank: int, folder: Path) -> None:
    """Keep this process's rows, in memory and in a file, and find those of both."""
    share = Share(rank, 2, everywhere=True)
    for file in (None, StoreFile(folder / "store", "layer.1")):
        entries = kept(share, file)
        assert torch.equal(entries.values, WHOLE) and entries.unchanged
        assert (entries.path is not None) == (file is not None)
    names = sorted(item.name for item in (folder / "store").iterdir())
    assert names == ["layer.1.bin", "layer.1.json"]
    with pytest.raises(Refused) as caught:
        share.agreed(lambda: refuse() if rank else None, CPU)
    assert caught.value.reason == (Reason.DISK if rank else Reason.ELSEWHERE)


def in_group_of_two(rank: int, folder: Path) -> None:
    processes.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    try:
        kept_everywhere(rank, folder)
    finally:
        processes.destroy_process_group()


def refuse() -> None:
    raise Refused(Reason.DISK)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the second process is forked")
def test_rows_that_two_processes_compute_are_all_there_in_both(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        status = 1
        try:
            in_group_of_two(1, tmp_path)
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    in_group_of_two(0, tmp_path)
    assert os.waitpid(child, 0)[1] == 0


@dataclass(frozen=True)
class Racing(Share):
    """Be one of two threads, of which the first is always as far ahead as the exchanges let it be."""

    meeting: Barrier = field(default_factory=lambda: Barrier(2))
    ahead: Semaphore = field(default_factory=lambda: Semaphore(0))

    def any(self, here: bool, device: torch.device) -> bool:
        """Meet the other one; the late one goes on when the first has done all that it can before the next meeting."""
        if self.number == 0:
            self.ahead.release()
        self.meeting.wait(30)
        if self.number == 1:
            assert self.ahead.acquire(timeout=30)
        return here

    def of_first(self, value: str) -> str:
        """Return the value: both threads have the same process's number in it."""
        return value


def test_a_process_that_is_late_finds_the_file_that_the_first_has_put_in_place(tmp_path: Path) -> None:
    first = Racing(0, 2, everywhere=True)
    file = StoreFile(tmp_path / "store", "layer.1")

    def lead() -> None:
        kept(first, file)
        first.ahead.release()

    with ThreadPoolExecutor() as pool:
        leading = pool.submit(lead)
        assert first.ahead.acquire(timeout=30)
        entries = kept(replace(first, number=1), file)
        leading.result()
    assert torch.equal(entries.values, WHOLE) and entries.unchanged
