"""Train a model whose weights dominate in one process and shared out among two, and print what each takes.

``python -m benchmarks.sharding`` trains a BERT of twelve layers, half of it frozen at first, in three phases, and
prints the most memory that a process had (all of it, and without what Python and its libraries take), the largest
difference of the weights, and whether the frozen tensors have the same hashes. Then, on a small model, it kills one of
two processes at some moment, goes on, and compares the folders byte for byte; and it lets one of two processes be
killed, meet a full disk, and raise an exception, and prints the seconds until all have ended, and what was printed.
It fails where a rank has more than 0.62 of one process's memory, where anything differs, or where an end takes longer
than 30 seconds. ``--width N`` sets the width of the model (1536).
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import BertConfig, BertModel

from freezeplan.cli import main as command
from freezeplan.runs.events import ignore_events
from freezeplan.runs.run_folder import RunFolder
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec
from freezeplan.train.loop import Loop
from freezeplan.train.session import Session
from freezeplan.train.setup import prepare
from tests.train.phased import assert_same_tree, phased_spec
from tests.train.ranked import ROOT, TORCHRUN, dropping_spec, environment, write_spec
from tests.train.tiny import SPECIAL, WORDS, save_tiny_bert, tiny_tokenizer, write_toy_data

MOST, SECONDS = 0.62, 30.0
ROWS, BATCH = 8, 4
RANK = os.environ.get("RANK", "0")
HALF = {"match": "@layers[-6:]", "state": "trainable"}
QUARTER = {"match": "@layers[:9]", "state": "frozen"}
PHASES: list[dict[str, Any]] = [
    {"name": "heads", "steps": 1},
    {"name": "upper half", "steps": 2, "rule": [HALF]},
    {"name": "upper quarter", "steps": 1, "rule": [QUARTER]},
]
WORK = "tests.train.ranked_work"


def make_inputs(folder: Path, width: int) -> None:
    """Write a BERT of twelve layers without dropout, its tokenizer, and rows."""
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=width,
        num_hidden_layers=12,
        num_attention_heads=8,
        intermediate_size=4 * width,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    BertModel(config).save_pretrained(folder / "bert", max_shard_size="50MB")
    tiny_tokenizer().save_pretrained(folder / "bert")
    write_toy_data(folder, train=ROWS, other=BATCH)


def large_spec(folder: Path) -> Spec:
    """Return the spec whose memory is measured."""
    spec = phased_spec(
        folder,
        PHASES,
        train={"batch_size": BATCH, "strategy": "shard", "store": "off", "keep_last": 1},
        optimizer={"name": "adamw", "lr": 1e-4},
    )
    return spec.model_copy(update={"task": [task.model_copy(update={"dropout": 0.0}) for task in spec.task]})


def measure(spec: Path, out: Path) -> None:
    """Train, and write down the most memory that this process had before and in all, in bytes."""
    before = _peak()
    Session(prepare(load_spec(spec)), RunFolder(out), ignore_events).run()
    Path(f"{out}-{RANK}.json").write_text(json.dumps([before, _peak()]), "utf-8")


def _peak() -> int:
    # What `getrusage` tells includes the process that this one was started by.
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text("utf-8"))
    return int(found[1]) * 1024 if found else 0


def started(*arguments: object, two: bool, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a module in one process, or in two under torchrun, to its end."""
    launcher = TORCHRUN if two else ()
    words = [sys.executable, *launcher, "-m", *map(str, arguments)]
    return subprocess.run(
        words, cwd=ROOT, env=environment(**more), capture_output=True, text=True, check=False
    )


def compare_memory(folder: Path, width: int) -> bool:
    """Train in one process and in two; print memory and differences; returns whether all is as it must be."""
    make_inputs(folder, width)
    spec = write_spec(large_spec(folder), folder / "large.toml")
    for name, two in (("one", False), ("two", True)):
        ran = started("benchmarks.sharding", "--measure", spec, folder / name, two=two)
        if ran.returncode:
            print(ran.stderr)
            return False
    peaks = {
        name: json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("one-0", "two-0", "two-1")
    }
    print(f"{'process':<10} {'peak MB':>9} {'of one':>7} {'above the libraries':>20} {'of one':>7}")
    for name, (before, peak) in peaks.items():
        whole = peaks["one-0"]
        shares = peak / whole[1], (peak - before) / (whole[1] - whole[0])
        print(
            f"{name:<10} {peak / 1e6:>9.0f} {shares[0]:>7.2f} {(peak - before) / 1e6:>20.0f} {shares[1]:>7.2f}"
        )
    share = max(peaks[name][1] for name in ("two-0", "two-1")) / peaks["one-0"][1]
    apart, equal = largest_difference(folder), same_hashes(folder)
    print(
        f"largest difference of a weight {apart:.1e}; frozen hashes equal: {equal}; largest share {share:.2f}"
    )
    return share <= MOST and equal and apart <= 1e-3


def largest_difference(folder: Path) -> float:
    """Return the largest absolute difference between the weights of the two runs, a tensor at a time."""
    found = 0.0
    for name, tensor in _tensors(folder / "one").items():
        other = _tensors(folder / "two")[name]
        found = max(found, float((tensor() - other()).abs().max()))
    return found


def _tensors(run: Path) -> dict[str, Callable[[], torch.Tensor]]:
    found: dict[str, Callable[[], torch.Tensor]] = {}
    for file in json.loads((run / "run.json").read_text("utf-8"))["weights"]:
        opened = safe_open(run / file, "pt")
        found |= {name: (lambda opened=opened, name=name: opened.get_tensor(name)) for name in opened.keys()}  # noqa: SIM118
    return found


def same_hashes(folder: Path) -> bool:
    """Whether both runs hold, and what is frozen has the same hashes in both, phase by phase."""
    runs = [json.loads((folder / name / "evidence.json").read_text("utf-8")) for name in ("one", "two")]
    kept = [
        [
            {item["name"]: item["after"] for item in phase["tensors"] if item["frozen"] and not item["moved"]}
            for phase in run["phases"][:2]
        ]
        for run in runs
    ]
    return all(run["holds"] for run in runs) and kept[0] == kept[1]


def kill_and_resume(folder: Path) -> bool:
    """Kill one of two processes at three moments, go on, and compare with a run that nobody killed."""
    small = small_model(folder)
    whole, chance, equal = folder / "whole", random.Random(5), True
    assert not started(WORK, "kill", small, whole, 0, two=True).returncode
    moments = int(Path(f"{whole}.moments").read_text("utf-8"))
    for number in range(3):
        out = folder / f"killed-{number}"
        moment = int(chance.uniform(0.2, 0.95) * moments)
        ended = started(WORK, "kill", small, out, moment, two=True)
        went_on = started(WORK, "kill", small, out, 0, two=True)
        try:
            assert_same_tree(out, whole)
            same = "killed at moment" in ended.stderr and not went_on.returncode
        except AssertionError as error:
            same = False
            print(error)
        print(f"killed at moment {moment} of {moments}, gone on: {'the same bits' if same else 'DIFFERS'}")
        equal = equal and same
    return equal


def small_model(folder: Path) -> Path:
    """Write a small BERT with dropout, rows, and a spec that shares it out; returns the spec's path."""
    place = folder / "small"
    place.mkdir()
    save_tiny_bert(place / "bert")
    write_toy_data(place)
    spec = dropping_spec(place)
    spec = spec.model_copy(update={"train": spec.train.model_copy(update={"strategy": "shard"})})
    return write_spec(spec, folder / "small.toml")


def be_killed() -> None:
    """Kill this process, as a system without memory does."""
    if RANK == "1":
        _note()
        os.kill(os.getpid(), signal.SIGKILL)


def fill_the_disk() -> None:
    """Let no file of the process that writes grow any more."""
    if RANK == "0":
        _note()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def raise_something() -> None:
    """Let this process meet a fault of a program."""
    if RANK == "1":
        _note()
        raise ZeroDivisionError("something that nobody expected")


def _note() -> None:
    Path(os.environ["MOMENT"]).write_text(str(time.time()), "utf-8")


FAULTS = {"killed": be_killed, "full disk": fill_the_disk, "exception": raise_something}


def work(fault: str, spec: Path, out: Path) -> None:
    """Run the command, and let something go wrong after the second step."""
    step = Loop._step

    def acting(loop: Loop, parts: Any) -> dict[str, torch.Tensor]:
        losses = step(loop, parts)
        if loop.position.step == 1:
            FAULTS[fault]()
        return losses

    Loop._step = acting
    command(["train", str(spec), "--out", str(out)])


def time_failures(folder: Path) -> bool:
    """Print for each fault how long it takes until all processes have ended, and what they print."""
    fine, small = True, folder / "small.toml"
    for fault in FAULTS:
        moment = folder / f"{fault}.moment"
        out = folder / fault.replace(" ", "-")
        ran = started("benchmarks.sharding", "--fault", fault, small, out, two=True, MOMENT=str(moment))
        seconds = time.time() - float(moment.read_text("utf-8"))
        said = re.findall(r"^.*(?:error\[FP\d+\]|internal error).*$", ran.stderr, re.MULTILINE)
        print(f"{fault}: all ended after {seconds:.1f} s, status {ran.returncode}; printed:")
        print(*(f"  {line}" for line in said), sep="\n")
        fine = fine and seconds <= SECONDS and len(said) == 1 and ran.returncode != 0
    return fine


def main(arguments: list[str]) -> int:
    """Compare, or do one process's part of it."""
    if arguments[:1] == ["--measure"]:
        measure(Path(arguments[1]), Path(arguments[2]))
        return 0
    if arguments[:1] == ["--fault"]:
        work(arguments[1], Path(arguments[2]), Path(arguments[3]))
        return 0
    width = int(arguments[1]) if arguments[:1] == ["--width"] else 1536
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        done = [compare_memory(folder, width)]
        for run in ("one", "two"):
            shutil.rmtree(folder / run, ignore_errors=True)
        done += [kill_and_resume(folder), time_failures(folder)]
        return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
