"""Two processes under torchrun train what one would, hold the same bits, speak once, and survive a kill."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from freezeplan.models.run_weights import weights_of_run
from freezeplan.runs.checkpoints.store import CheckpointStore
from freezeplan.train.launching import set_own_seed
from freezeplan.train.ranks import Ranks
from freezeplan.train.resume import resume
from freezeplan.train.run import train
from tests.train.phased import assert_same_tree
from tests.train.ranked import (
    TORCHRUN,
    dropping_spec,
    every_task_spec,
    on_two_ranks,
    still_spec,
    still_toy,
    write_spec,
)
from tests.train.streamed import streaming

# SGD does not magnify rounding: sums over other numbers of rows, padded to other widths.
TOLERANCE = 1e-5
WORK = "tests.train.ranked_work"


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return still_toy(tmp_path_factory.mktemp("still"))


def records(out: Path, kind: str) -> list[dict]:
    lines = (out / "metrics.jsonl").read_text("utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


@pytest.mark.slow
@pytest.mark.parametrize(("mixing", "balancing"), [("alternate", None), ("joint", None), ("joint", "mgda")])
def test_two_ranks_hold_the_same_bits_and_equal_one_process(
    still: Path, tmp_path: Path, mixing: str, balancing: str | None
) -> None:
    if balancing is not None:
        pytest.importorskip("torchjd", reason="the extra `balancing` is not installed")
    spec = still_spec(still, mixing, balancing=balancing)
    ran = on_two_ranks(WORK, "keep", write_spec(spec, tmp_path / "spec.toml"), tmp_path / "two")
    assert ran.returncode == 0, ran.stderr
    ranks = [load_file(tmp_path / f"two-{rank}.safetensors") for rank in (0, 1)]
    assert [name for name, value in ranks[0].items() if not torch.equal(value, ranks[1][name])] == []
    train(spec, tmp_path / "one")
    one = weights_of_run(tmp_path / "one")
    assert max(float((ranks[0][name] - value).abs().max()) for name, value in one.items()) <= TOLERANCE
    before = load_file(still / "bert" / "model.safetensors")
    assert max(float((one[f"backbone.{name}"] - value).abs().max()) for name, value in before.items()) > 1e-2
    steps = [records(tmp_path / out, "step") for out in ("one", "two")]
    assert [item["rates"] for item in steps[0]] == [item["rates"] for item in steps[1]]
    losses = [[value for item in run for value in item["losses"].values()] for run in steps]
    assert losses[0] == pytest.approx(losses[1], abs=TOLERANCE)
    scores = [records(tmp_path / out, "epoch") for out in ("one", "two")]
    for left, right in zip(*scores, strict=True):
        for task, values in left["validation"].items():
            assert values == pytest.approx(right["validation"][task], abs=1e-4)
    evidence = json.loads((tmp_path / "two" / "evidence.json").read_text("utf-8"))
    assert evidence["processes"] == 2 and evidence["statement"].endswith("the same bits in 2 processes")


@pytest.mark.slow
def test_tasks_of_every_kind_on_two_ranks_equal_one_process(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    spec = streaming(every_task_spec(tmp_path / "toy"), ["ner", "topic"], steps=5)
    ran = on_two_ranks(WORK, "keep", write_spec(spec, tmp_path / "spec.toml"), tmp_path / "two")
    assert ran.returncode == 0, ran.stderr
    ranks = [load_file(tmp_path / f"two-{rank}.safetensors") for rank in (0, 1)]
    assert [name for name, value in ranks[0].items() if not torch.equal(value, ranks[1][name])] == []
    train(spec, tmp_path / "one")
    one = weights_of_run(tmp_path / "one")
    assert max(float((ranks[0][name] - value).abs().max()) for name, value in one.items()) <= TOLERANCE
    scores = [records(tmp_path / out, "epoch")[-1]["validation"] for out in ("one", "two")]
    for task, values in scores[0].items():
        assert values == pytest.approx(scores[1][task], abs=1e-3)


@pytest.mark.slow
def test_killed_and_resumed_two_ranks_are_never_killed(toy: Path, tmp_path: Path) -> None:
    spec = write_spec(streaming(dropping_spec(toy), ["topic"]), tmp_path / "spec.toml")
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert on_two_ranks(WORK, "kill", spec, whole, 0).returncode == 0
    moments, chance = int(Path(f"{whole}.moments").read_text()), random.Random(5)
    killed = on_two_ranks(WORK, "kill", spec, out, int(chance.uniform(0.3, 0.5) * moments))
    assert "killed at moment" in killed.stderr and killed.returncode != 0
    stopped = CheckpointStore(out).newest()[0]
    assert stopped is not None and {"rng.json", "rng-1.json"} <= set(stopped.state["files"])
    states = [(stopped.path / name).read_text() for name in ("rng.json", "rng-1.json")]
    assert states[0] != states[1]
    shutil.copytree(out, tmp_path / "alone")
    found = [item for item in resume(tmp_path / "alone").diagnostics if item.code == "FP548"]
    assert found[0].notes == ("processes was 2, is 1", "strategy was replicate, is single")
    assert on_two_ranks(WORK, "kill", spec, out, 0).returncode == 0
    assert_same_tree(out, whole)


@pytest.mark.slow
def test_an_error_of_one_rank_ends_both_and_is_printed_once(still: Path, tmp_path: Path) -> None:
    spec = write_spec(still_spec(still, "joint"), tmp_path / "spec.toml")
    ran = on_two_ranks(WORK, "fail", spec, tmp_path / "out", launcher=TORCHRUN)
    assert ran.returncode == 1
    assert ran.stderr.count("error[FP504]") == 1 and "FP556" not in ran.stderr
    assert ran.stdout.count("phase 1/4 heads: ") == 1
    assert "internal error" not in ran.stderr


@pytest.mark.slow
def test_an_error_that_both_ranks_meet_is_printed_once(still: Path, tmp_path: Path) -> None:
    spec = write_spec(still_spec(still, "joint"), tmp_path / "spec.toml")
    (tmp_path / "taken").write_text("mine")
    ran = on_two_ranks("freezeplan", "train", spec, "--out", tmp_path / "taken", launcher=TORCHRUN)
    assert ran.returncode == 1
    assert ran.stderr.count("error[FP501]") == 1
    assert ran.stdout.count("coverage ") == 1


@pytest.mark.slow
def test_ranks_that_hold_other_bits_are_found_out(still: Path, tmp_path: Path) -> None:
    spec = write_spec(still_spec(still, "joint"), tmp_path / "spec.toml")
    ran = on_two_ranks(WORK, "stray", spec, tmp_path / "out", launcher=TORCHRUN)
    assert ran.returncode == 1
    assert ran.stderr.count("error[FP555]") == 1
    assert "the 2 processes do not hold the same after 4 steps" in ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("what", ["interrupt", "terminate"])
def test_a_signal_ends_both_ranks_and_the_run_can_go_on(still: Path, tmp_path: Path, what: str) -> None:
    spec = write_spec(still_spec(still, "alternate"), tmp_path / "spec.toml")
    ran = on_two_ranks(WORK, what, spec, tmp_path / "out", launcher=TORCHRUN)
    assert ran.returncode != 0
    assert ran.stderr.count("warning[FP540]") == 1 and "go on with `freezeplan train --resume" in ran.stderr
    assert "FP556" not in ran.stderr and "internal error" not in ran.stderr


@pytest.mark.slow
def test_a_launcher_that_starts_one_process_of_two_is_told_on(still: Path, tmp_path: Path) -> None:
    spec = write_spec(still_spec(still, "joint"), tmp_path / "spec.toml")
    accelerate = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2")
    ran = on_two_ranks("freezeplan", "train", spec, "--out", tmp_path / "out", launcher=accelerate)
    assert ran.stderr.count("error[FP557]: 2 processes were asked for, and there is 1") == 1


def test_ranks_other_than_the_first_draw_other_numbers() -> None:
    torch.manual_seed(3)
    set_own_seed(7, Ranks(0, 2))
    first = torch.rand(4)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(4), first)
    set_own_seed(7, Ranks(1, 2))
    assert not torch.equal(torch.rand(4), first)
