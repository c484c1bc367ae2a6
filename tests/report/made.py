"""Runs, comparisons and probes to report on, small ones, with names that are anything."""

from __future__ import annotations

import json
from pathlib import Path

from freezeplan.spec.tables import Spec
from freezeplan.train.run import train
from tests.train.tiny import toy_data, toy_spec, write_jsonl

SCRIPT = "<script>alert(1)</script>"
QUOTES = "\"'><b onclick=alert(2)> &amp;"
ENDS = "</title></svg></style></script><img src=x onerror=alert(3)>"
TURNED = "\u202eevil \u05d0\u05d1"
LONG = "W" * 200
LABELS = {"app": TURNED, "mail": QUOTES, "shop": LONG}
NAMES = (SCRIPT, QUOTES, ENDS, LONG)


def strange_spec(folder: Path, toy: Path) -> Spec:
    """Return a spec whose rules, phases and labels have strange names; a head is frozen in its last phase."""
    for split in ("train", "validation", "test"):
        rows = [json.loads(line) for line in (toy / f"{split}.jsonl").read_text("utf-8").splitlines()]
        write_jsonl(folder / f"{split}.jsonl", [row | {"topic": LABELS[row["topic"]]} for row in rows])
    top = {"name": "{{ 7*7 }}", "match": "@layers[-1:]", "state": "trainable", "lr": 1e-3}
    stop = {"name": "stop", "match": "heads.mood", "state": "frozen"}
    return toy_spec(
        toy,
        rule=[
            {"name": SCRIPT, "match": "backbone", "state": "frozen"},
            {"name": QUOTES, "match": "heads", "state": "trainable"},
        ],
        phase=[{"name": ENDS, "epochs": 1}, {"name": LONG, "epochs": 1, "rule": [top, stop]}],
        task=[
            {"name": "topic", "data": toy_data(folder, "topic"), "dropout": 0.0},
            {"name": "mood", "data": toy_data(toy, "mood"), "dropout": 0.0},
        ],
        optimizer={"lr": 1e-2},
        train={"batch_size": 48},
    )


def strange_run(folder: Path, toy: Path) -> Path:
    """Train a run of a spec with strange names; return its folder."""
    train(strange_spec(folder, toy), folder / "run")
    return folder / "run"


def comparison_record(finished: bool = True) -> dict[str, object]:
    """Return what a comparison of two candidates writes."""
    candidates = [
        {"name": name, "words": SCRIPT, "spec": f"specs/{name}.toml", "warm": True, "flops": 10**9 * flops,
         "seconds": 1.0, "peak_bytes": 2**20, "left_out": None, "failed": False}
        for name, flops in (("heads", 1), (QUOTES, 20))
    ]  # fmt: skip
    trials = [
        {"candidate": item["name"], "seed": 0, "epochs": 2, "run": "runs/a", "scores": {"topic": 0.8},
         "cpu_seconds": 1.5, "seconds": 2.0, "trained": 10}
        for item in candidates
    ]  # fmt: skip
    rows = [
        {"candidate": item["name"], "score": 0.8 + 0.01 * place, "error": 0.02, "short": 0.01 - 0.01 * place,
         "short_error": 0.02, "flops": item["flops"], "cpu_seconds": 1.5, "seconds": 2.0, "epochs": 2, "seeds": 1,
         "peak_bytes": 2**20, "trained": 10, "finished": True, "front": True}
        for place, item in enumerate(candidates)
    ]  # fmt: skip
    verdict = {"rows": rows[::-1], "best": QUOTES, "chosen": "heads", "alike": ["heads"]}
    return {
        "format_version": 1, "identity": "x", "model": ENDS, "epochs": 2, "rungs": [1, 2], "seeds": 1,
        "tasks": [{"name": "topic", "kind": "classification", "metric": "accuracy"}],
        "budget": {"seconds": 60.0, "bytes": None}, "candidates": candidates, "trials": trials,
        "verdict": verdict if finished else None,
    }  # fmt: skip


def probe_record() -> dict[str, object]:
    """Return what a probe of three layers writes."""
    depths = [
        {"depth": depth, "name": f"layer {depth}", "width": 8, "score": score, "error": 0.03,
         "gain": gain, "gain_error": None if gain is None else 0.02, "short": 0.9 - score, "short_error": 0.02,
         "strength": 1.0}
        for depth, score, gain in ((0, 0.5, None), (1, 0.7, 0.2), (2, 0.9, 0.2), (3, 0.89, -0.01))
    ]  # fmt: skip
    task = {
        "task": QUOTES, "kind": "classification", "metric": "accuracy", "error": "binomial",
        "rows": {"train": 90, "validation": 30}, "depths": depths, "best": 2, "enough": 2,
        "baselines": [{"name": SCRIPT, "score": 0.3, "error": 0.02}],
    }  # fmt: skip
    cost = {"extraction_cpu_seconds": 1.0, "fitting_cpu_seconds": 0.5, "inputs": 120, "bytes": 4096}
    return {
        "format_version": 1, "model": ENDS, "layers": ["a", "b", "c"], "tasks": [task],
        "left_out": [{"task": "lm", "reason": SCRIPT}], "cost": cost,
    }  # fmt: skip
