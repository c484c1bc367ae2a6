"""Measure how the compiler grows: 10,000 and 100,000 names x 200 rules.

``python -m benchmarks.compile_scaling`` prints seconds (median of three) and their ratio; ten times the
names should take about ten times as long.
"""

from __future__ import annotations

import statistics
import time

from freezeplan.inventory.records import Inventory, ModuleInfo, ParamInfo
from freezeplan.plan import compile_plan
from freezeplan.spec.tables import Spec

LEAVES = ("weight", "bias", "scale", "shift")
PER_LAYER = 20
RULES = 200


def generated_inventory(names: int) -> Inventory:
    """Return a model of ``names`` parameters in layers of five blocks of four."""
    params, modules = [], {"": None}
    for index in range(names):
        layer, place = divmod(index, PER_LAYER)
        module = f"net.layers.{layer}.block{place // 4}"
        shape = (8, 8) if place % 4 == 0 else (8,)
        params.append(ParamInfo(f"{module}.{LEAVES[place % 4]}", shape, "float32", module))
        parts = module.split(".")
        modules.update({".".join(parts[:end]): None for end in range(1, len(parts) + 1)})
    return Inventory(f"{names} names", tuple(params), tuple(ModuleInfo(path, ("Block",)) for path in modules))


def generated_spec(layers: int) -> Spec:
    """Return a spec of 200 rules: one for all, and a mix of deep globs, wildcards and braces."""
    shapes = ("**.layers.{}.block{}.*", "net.layers.{}.**.weight", "net.layers.{}.block{{0..2}}")
    rules = [{"name": "all", "match": "**", "state": "frozen"}]
    for number in range(RULES - 1):
        pattern = shapes[number % 3].format((number * 7 + 2 * (number % 3)) % layers, number % 5)
        rules.append({"name": f"rule {number}", "match": pattern, "state": "trainable", "lr_mult": 2.0})
    return Spec.model_validate({"rule": rules, "optimizer": {"no_decay": ["**.bias"]}})


def seconds(names: int, repeats: int = 3) -> float:
    """Return the median time of compiling a model of ``names`` parameters."""
    inventory, spec = generated_inventory(names), generated_spec(names // PER_LAYER)
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        compile_plan(inventory, spec)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


if __name__ == "__main__":
    small, large = seconds(10_000), seconds(100_000)
    print(f"10,000 names x {RULES} rules: {small:.2f} s")
    print(
        f"100,000 names x {RULES} rules: {large:.2f} s ({large / small:.1f} times as long for 10 times the names)"
    )
