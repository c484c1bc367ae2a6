"""Measure what wrong specs cost that could make the compiler say, or try, far too much.

``python -m benchmarks.floods`` compiles each in a process of its own and prints seconds, peak memory (the
interpreter and its imports included), and how many diagnostics came of it.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.records import Inventory, ModuleInfo, ParamInfo
from freezeplan.plan import compile_plan
from freezeplan.spec.reading import load_spec

LAYERS = 12


def small_model() -> Inventory:
    """Return the names of a model of twelve layers of two tensors."""
    modules = ["", "layers", *(f"layers.{number}" for number in range(LAYERS))]
    params = [
        ParamInfo(f"layers.{number}.{leaf}", (8,), "float32", f"layers.{number}")
        for number in range(LAYERS)
        for leaf in ("weight", "bias")
    ]
    return Inventory("flood", tuple(params), tuple(ModuleInfo(path, ("Block",)) for path in modules))


def colliding(count: int) -> dict[str, Any]:
    """Return rules every two of which overlap and disagree."""
    pairs = [(number % LAYERS, (number + 1) % LAYERS) for number in range(count)]
    rules = [
        {
            "match": [f"layers.{low}", f"layers.{high}", "**.bias"],
            "lr_mult": 1.0 + number,
            "state": "trainable",
        }
        for number, (low, high) in enumerate(pairs)
    ]
    return {"rule": [{"match": "**", "state": "frozen"}, *rules]}


def alike(count: int) -> dict[str, Any]:
    """Return the same rule over and over."""
    return {"rule": [{"match": "**", "state": "trainable"}] * count}


def braces(count: int) -> dict[str, Any]:
    """Return patterns that stand for 4,096 patterns each, of which few match anything."""
    pattern = ".".join(["**", *["{a,b,c,d,e,f,g,h}"] * 4])
    rules = [{"name": f"rule {number}", "match": pattern, "state": "frozen"} for number in range(count)]
    return {"rule": rules}


def misses(count: int) -> dict[str, Any]:
    """Return rules whose patterns match nothing."""
    return {"rule": [{"match": f"layer{number}.weight", "state": "frozen"} for number in range(count)]}


FLOODS: dict[str, Callable[[], dict[str, Any]]] = {
    "1,000 colliding rules": lambda: colliding(1000),
    "8,000 alike rules": lambda: alike(8000),
    "16,000 alike rules": lambda: alike(16_000),
    "40 patterns of 4,096": lambda: braces(40),
    "2,000 misses": lambda: misses(2000),
}


def main() -> None:
    """Print one line per flood."""
    for name in FLOODS:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.floods", name], capture_output=True, text=True
        )
        print(f"{name:24} {done.stdout.strip() or done.stderr.strip().splitlines()[-1]}", flush=True)


def measure(name: str) -> str:
    """Compile one flood in this process; return its seconds, peak memory and number of diagnostics."""
    table, model = FLOODS[name](), small_model()
    start = time.process_time()
    try:
        found = compile_plan(model, load_spec(table)).diagnostics
    except DiagnosticError as error:
        found = error.diagnostics
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    count = sum(1 + item.more for item in found)
    return f"{seconds:6.2f} CPU s  {peak:6.0f} MiB  {len(found)} of {count:,} diagnostics"


if __name__ == "__main__":
    print(measure(sys.argv[1])) if sys.argv[1:] else main()
