"""Train five tasks of three kinds in one run on the real MiniLM, kill it in each phase, and train it in two processes.

``python -m benchmarks.five_tasks [--data FOLDER] [--rows N]`` trains intents and slots (SNIPS, the same rows),
sentiment (CR), parts of speech (EWT) and the similarity of captions (STS-B): first the heads, the frozen backbone in
the store, then with the upper two layers thawed. It does so

- in one go, and again with a SIGKILL in the middle of each phase and a resumption after it: all files must be equal;
- without dropout in one process and in two under torchrun: the processes must hold the same bits, and how far they
  are from the one is printed.

It ends with status 1 where a file or a bit differs.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from safetensors.torch import load_file  # noqa: E402

from benchmarks.minilm import SHARED, SOURCE  # noqa: E402
from benchmarks.shared_kinds import tags_of  # noqa: E402
from benchmarks.stock_equality import still_model  # noqa: E402
from benchmarks.two_ranks import largest  # noqa: E402
from freezeplan.api import load_spec  # noqa: E402
from freezeplan.models.run_weights import weights_of_run  # noqa: E402
from freezeplan.runs.checkpoints.store import CheckpointStore  # noqa: E402
from freezeplan.runs.events import Event, ExecutionChosen, StepDone, ignore_events  # noqa: E402
from freezeplan.runs.spec_file import spec_text  # noqa: E402
from freezeplan.train.resume import resume  # noqa: E402
from freezeplan.train.run import train  # noqa: E402
from tests.train.phased import tree  # noqa: E402
from tests.train.ranked import ROOT, TORCHRUN, environment  # noqa: E402

SETS = ("snips", "cr", "ewt_upos", "stsb_images")
BATCH = 16
WORDS = {"tokens": "tokens", "tags": "tags"}
TASKS: list[dict[str, Any]] = [
    {"name": "intent", "set": "snips", "columns": {"text": "text", "label": "label"}},
    {"name": "slots", "set": "snips", "kind": "token_classification", "columns": WORDS},
    {"name": "sentiment", "set": "cr", "columns": {"text": "text", "label": "label"}},
    {"name": "speech", "set": "ewt_upos", "kind": "token_classification", "columns": WORDS},
    {
        "name": "alike",
        "set": "stsb_images",
        "kind": "similarity",
        "max_score": 5.0,
        "columns": {"text": "text_a", "text_pair": "text_b", "label": "score"},
    },
]
RULES = [
    {"name": "backbone", "match": "@backbone", "state": "frozen"},
    {"name": "heads", "match": "heads", "state": "trainable", "lr_mult": 50.0},
]
PHASES = [
    {"name": "heads", "epochs": 2},
    {
        "name": "upper two",
        "epochs": 1,
        "rule": [{"name": "upper", "match": "@layers[-2:]", "state": "trainable"}],
    },
]


def write_rows(data: Path, folder: Path, rows: int) -> None:
    """Write the first rows of each set into a folder, a quarter as many to validate and test on."""
    for name in SETS:
        for split, count in (("train", rows), ("validation", rows // 4), ("test", rows // 4)):
            lines = (data / name / f"{split}.jsonl").read_text("utf-8").splitlines()[:count]
            (folder / f"{name}-{split}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


def task_of(made: dict[str, Any], data: Path, folder: Path, dropout: float) -> dict[str, Any]:
    """Return a task's table."""
    files = {split: str(folder / f"{made['set']}-{split}.jsonl") for split in ("train", "validation", "test")}
    table = {key: value for key, value in made.items() if key not in ("set", "columns")}
    if made["columns"] is WORDS:
        table["labels"] = tags_of(
            data / made["set"] / f"{split}.jsonl" for split in ("train", "validation", "test")
        )
    if made.get("kind") != "similarity":
        table["dropout"] = dropout
    return table | {"data": files | made["columns"]}


def write_spec(data: Path, folder: Path, source: str, name: str, dropout: float, **tables: Any) -> Path:
    """Write the spec of one run; returns its file."""
    spec = {
        "model": {"source": source, "pooling": "mean"},
        "optimizer": {"lr": 1e-4},
        "rule": RULES,
        "phase": PHASES,
        "task": [task_of(made, data, folder, dropout) for made in TASKS],
        "train": {"batch_size": BATCH, "checkpoint_steps": 7, "clip_norm": 1.0, "seed": 13},
    }
    path = folder / f"{name}.toml"
    path.write_text(spec_text(load_spec(spec | tables)), "utf-8")
    return path


def go(spec: Path, out: Path, kill_at: int) -> None:
    """Begin the run, or go on with it, and kill this process after a step (0: after none)."""

    def see(event: Event) -> None:
        if isinstance(event, ExecutionChosen):
            print(f"  {event.phase}: {event.statement}", flush=True)
        if isinstance(event, StepDone) and event.step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    begun = CheckpointStore(out).newest()[0] is not None if out.exists() else False
    status = resume(out, see).status if begun else train(load_spec(spec), out, see).status
    assert status == "finished", status


def in_a_process(spec: Path, out: Path, kill_at: int = 0) -> None:
    """Do so in a process of its own, which must end as it should."""
    words = [sys.executable, "-m", "benchmarks.five_tasks", "--go", str(spec), str(out), str(kill_at)]
    ran = subprocess.run(words, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)
    if ran.returncode != (-signal.SIGKILL if kill_at else 0):
        raise SystemExit(f"the process ended with {ran.returncode}:\n{ran.stderr}")


def steps_of(out: Path) -> list[int]:
    """Return the number of the last step of each phase."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    epochs = [row["step"] for row in rows if row["kind"] == "epoch"]
    return [epochs[PHASES[0]["epochs"] - 1], epochs[-1]]


def killed(spec: Path, folder: Path) -> bool:
    """Compare a run that is killed in each phase with one that is not."""
    whole, out = folder / "whole", folder / "killed"
    print("in one go:", flush=True)
    in_a_process(spec, whole)
    first, last = steps_of(whole)
    kills = [first // 2, (first + last) // 2]
    for step in kills:
        print(f"killed after step {step} of {last}:", flush=True)
        in_a_process(spec, out, step)
    print("resumed to the end:", flush=True)
    in_a_process(spec, out)
    left, right = tree(whole), tree(out)
    differing = sorted(name for name in {**left, **right} if left.get(name) != right.get(name))
    print(f"{len(left)} files of the run, {len(differing)} of them differ {differing or ''}", flush=True)
    for name, scores in json.loads((whole / "run.json").read_text("utf-8"))["scores"]["test"][
        "scores"
    ].items():
        print(f"  {name}: " + ", ".join(f"{metric} {value:.3f}" for metric, value in scores.items()))
    return not differing


def on_ranks(spec: Path, folder: Path) -> bool:
    """Compare two processes with each other and with one."""
    words = [
        sys.executable,
        *TORCHRUN,
        "-m",
        "tests.train.ranked_work",
        "keep",
        str(spec),
        str(folder / "two"),
    ]
    ran = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"two processes ended with {ran.returncode}:\n{ran.stderr}")
    train(load_spec(spec), folder / "one", ignore_events)
    first, second = (load_file(folder / f"two-{rank}.safetensors") for rank in (0, 1))
    one = weights_of_run(folder / "one")
    between = largest(first, second)
    print(f"two processes: apart from each other {between:.1e}, from one process {largest(first, one):.1e}")
    return between == 0.0


def main(arguments: list[str]) -> int:
    """Compare, or do what one process does."""
    if arguments[:1] == ["--go"]:
        go(Path(arguments[1]), Path(arguments[2]), int(arguments[3]))
        return 0
    made = argparse.ArgumentParser(prog="python -m benchmarks.five_tasks")
    made.add_argument("--data", type=Path, default=SHARED, help="folder of the data sets")
    made.add_argument("--rows", type=int, default=64, help="training rows of each set (default: 64)")
    asked = made.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="freezeplan-five-") as name:
        folder = Path(name)
        write_rows(asked.data, folder, asked.rows)
        same = killed(write_spec(asked.data, folder, SOURCE, "spec", 0.1), folder)
        sgd = {"optimizer": {"name": "sgd", "lr": 1e-2, "momentum": 0.9}}
        still = write_spec(asked.data, folder, str(still_model(folder)), "still", 0.0, **sgd)
        equal = on_ranks(still, folder)
    return 0 if same and equal else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
