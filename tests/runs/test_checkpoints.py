"""Checkpoints: written whole or not at all, optimizer state by name, every source of random numbers."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from freezeplan.diagnostics import DiagnosticError
from freezeplan.plan.optimizers import optimizer_table
from freezeplan.runs.checkpoints import store as store_module
from freezeplan.runs.checkpoints.optimizer_state import restore_optimizer, save_optimizer
from freezeplan.runs.checkpoints.randomness import randomness, set_randomness
from freezeplan.runs.checkpoints.store import CheckpointStore, Damaged, name_of
from freezeplan.runs.events import EpochDone
from freezeplan.train.resume import resume
from freezeplan.train.run import train
from tests.train.phased import assert_same_tree, every_kind, stopping
from tests.train.test_resume import stop_at


def fill(text: str):
    def into(folder: Path) -> dict[str, Any]:
        (folder / "data.txt").write_text(text)
        return {"text": text}

    return into


def test_what_is_written_is_read_back_with_its_state(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    assert store.write(7, fill("a")) == tmp_path / "checkpoints" / "step-00000007"
    assert store.read("step-00000007").state["text"] == "a"
    assert (store.newest()[0].name, store.newest()[1]) == ("step-00000007", {})


@given(st.binary(min_size=1, max_size=60), st.data())
def test_any_changed_byte_of_any_file_is_found(content: bytes, data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        store = CheckpointStore(Path(folder))
        path = store.write(1, lambda place: {"n": (place / "data").write_bytes(content)})
        victim = path / data.draw(st.sampled_from(["data", "state.json"]))
        raw = bytearray(victim.read_bytes())
        at = data.draw(st.integers(0, len(raw) - 1))
        changed = data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[at]))
        before = json.loads((path / "state.json").read_text())
        raw[at] = changed
        victim.write_bytes(bytes(raw))
        try:
            found = store.read("step-00000001")
        except Damaged:
            return
        # White space between the values of a JSON file says nothing.
        assert victim.name == "state.json" and found.state == before


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_checkpoint_that_cannot_be_written_leaves_none(tmp_path: Path, error: BaseException) -> None:
    store = CheckpointStore(tmp_path)
    store.write(1, fill("a"))

    def fail(folder: Path) -> dict[str, Any]:
        (folder / "data.txt").write_text("half")
        raise error

    with pytest.raises(type(error)):
        store.write(2, fail)
    assert [item.name for item in store.folder.iterdir()] == ["step-00000001"]


def test_the_newest_are_kept_and_those_that_are_named(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    for step in range(1, 7):
        store.write(step, fill("a"))
    store.prune(5, 2, [name_of(2)])
    assert store.names() == [name_of(2), name_of(4), name_of(5)]


def test_leftovers_of_a_killed_process_are_no_checkpoints(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.write(1, fill("a"))
    (store.folder / ".partial-step-00000002-99").mkdir()
    assert store.names() == [name_of(1)]
    store.remove_leftovers()
    assert [item.name for item in store.folder.iterdir()] == [name_of(1)]


def test_another_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(tmp_path)
    monkeypatch.setattr(store_module, "CHECKPOINT_FORMAT", 99)
    store.write(1, fill("a"))
    monkeypatch.undo()
    with pytest.raises(Damaged, match="format_version 99"):
        store.read(name_of(1))


def test_every_source_of_random_numbers_comes_back() -> None:
    state = json.loads(json.dumps(randomness()))
    random.gauss(0.0, 1.0)

    def draw() -> list[float]:
        return [
            *torch.rand(3).tolist(),
            random.random(),
            random.gauss(0.0, 1.0),
            *numpy.random.rand(2).tolist(),
            numpy.random.standard_normal(),
        ]

    set_randomness(state)
    first = draw()
    assert draw() != first
    set_randomness(state)
    assert draw() == first


USABLE = [
    name
    for name, facts in optimizer_table().items()
    if facts.groups and facts.demand in ("", "2-D parameters only")
]


def built(name: str, reverse: bool) -> tuple[list[tuple[str, nn.Parameter]], torch.optim.Optimizer]:
    torch.manual_seed(1)
    pairs = [(f"layer.{index}.weight", nn.Parameter(torch.rand(4, 3))) for index in range(4)]
    kind = getattr(torch.optim, optimizer_table()[name].name)
    groups = [{"params": pairs[:1], "lr": 0.02}, {"params": pairs[1:], "lr": 0.01}]
    if reverse:
        groups = [{"params": pairs[2:][::-1], "lr": 0.01}, {"params": pairs[:2][::-1], "lr": 0.02}]
    return pairs, kind(groups, lr=0.01)


def stepped(pairs: list[tuple[str, nn.Parameter]], optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        for index, (_, parameter) in enumerate(pairs[:3]):
            generator = torch.Generator().manual_seed(100 * step + index)
            parameter.grad = torch.rand(4, 3, generator=generator)
        optimizer.step()


@pytest.mark.parametrize("name", USABLE)
def test_the_state_of_every_optimizer_comes_back_by_name(name: str, tmp_path: Path) -> None:
    pairs, straight = built(name, reverse=False)
    stepped(pairs, straight, range(3))
    more = json.loads(json.dumps(save_optimizer(straight, tmp_path)))
    weights = {key: value.detach().clone() for key, value in pairs}
    again_pairs, again = built(name, reverse=True)
    with torch.no_grad():
        for key, parameter in again_pairs:
            parameter.copy_(weights[key])
    restore_optimizer(again, tmp_path, more)
    for group in (*straight.param_groups, *again.param_groups):
        group["lr"] = 0.01
    stepped(pairs, straight, range(3, 6))
    stepped(again_pairs, again, range(3, 6))
    after = dict(again_pairs)
    assert all(torch.equal(value, after[key]) for key, value in pairs)
    assert torch.equal(pairs[3][1], weights["layer.3.weight"])


def test_a_full_disk_while_a_checkpoint_is_written_is_said_and_can_be_gone_on_from(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from freezeplan.runs.checkpoints import optimizer_state

    train(every_kind(toy), tmp_path / "whole")
    calls, save = [], optimizer_state.write_tensors

    def write(*arguments: Any, **more: Any) -> None:
        calls.append(1)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")
        save(*arguments, **more)

    monkeypatch.setattr(optimizer_state, "write_tensors", write)
    with pytest.raises(DiagnosticError) as caught:
        train(every_kind(toy), tmp_path / "run")
    (found,) = caught.value.diagnostics
    assert (found.code, "No space left on device" in found.message) == ("FP502", True)
    assert CheckpointStore(tmp_path / "run").names() == ["step-00000012", "step-00000014"]
    assert not list((tmp_path / "run" / "checkpoints").glob(".partial*"))
    monkeypatch.undo()
    resume(tmp_path / "run")
    assert_same_tree(tmp_path / "run", tmp_path / "whole")


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can mount a small file system")
def test_a_real_full_disk(toy: Path, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        with pytest.raises(DiagnosticError) as caught:
            train(every_kind(toy, keep_last=9), place / "run")
        (found,) = caught.value.diagnostics
        assert (found.code, "No space left" in found.message) == ("FP502", True)
        kept = CheckpointStore(place / "run")
        assert kept.newest()[0] is not None and kept.newest()[1] == {}
        shutil.copytree(place / "run", tmp_path / "run")
        assert resume(tmp_path / "run").status == "finished"
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_keep_best_keeps_the_best_beside_the_newest(toy: Path, tmp_path: Path) -> None:
    events: list[EpochDone] = []
    spec = stopping(toy, stop_when=None, keep_best="topic/loss", keep_last=1)
    train(spec, tmp_path / "run", lambda e: events.append(e) if isinstance(e, EpochDone) else None)
    store = CheckpointStore(tmp_path / "run")
    state = store.read(store.names()[-1]).state["position"]
    losses = [event.scores["topic"]["loss"] for event in events]
    best = events[losses.index(min(losses))]
    assert state["best"] == [best.step, min(losses)]
    assert store.names() == sorted({name_of(best.step), name_of(events[-1].step)})


def test_stopping_twice_in_a_row_keeps_what_is_there(toy: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(every_kind(toy), out, stop_at(2, (EpochDone,)))
    names = CheckpointStore(out).names()
    resume(out, stop_at(1))
    assert CheckpointStore(out).names() == names


def test_a_table_that_an_optimizer_keeps_for_all_parameters_is_written_for_each(tmp_path: Path) -> None:
    """safetensors refuses tensors that share their memory; 8-bit optimizers keep one table of numbers for all."""
    pairs, optimizer = built("sgd", reverse=False)
    table = torch.arange(4.0)
    for _, parameter in pairs[:2]:
        optimizer.state[parameter]["table"] = table
    more = save_optimizer(optimizer, tmp_path)
    optimizer.state.clear()
    restore_optimizer(optimizer, tmp_path, more)
    assert [optimizer.state[parameter]["table"].tolist() for _, parameter in pairs[:2]] == [[0, 1, 2, 3]] * 2
