"""Describes the structure found in one class, and prints what was found over all of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from benchmarks.building import meta_model, within
from benchmarks.laws import broken_laws
from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.records import Inventory, Stack

SECONDS = 120


@dataclass
class Entry:
    """Hold what was found in one class: its stacks in words, doubts, broken laws, and the seconds it took."""

    model_type: str
    class_name: str
    error: str = ""
    stacks: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    backing: str = ""
    broken: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0


def describe(key: tuple[str, str]) -> Entry:
    """Build a class from its type's default config and describe it; an error is an entry too."""
    entry = Entry(*key)
    try:
        model = within(SECONDS, lambda: meta_model(*key))
    except Exception as error:  # noqa: BLE001 - that a class does not build is a result
        entry.error = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
        return entry
    start = time.perf_counter()
    try:
        found = within(SECONDS, lambda: inventory_of(model))
    except Exception as error:  # noqa: BLE001 - counted as a broken law
        entry.broken = {"inventory": [f"{type(error).__name__}: {error}"]}
        return entry
    return replace(entry_of(*key, found), seconds=time.perf_counter() - start)


def entry_of(model_type: str, class_name: str, found: Inventory) -> Entry:
    """Describe an inventory: its stacks in words, what backs them, and the laws it breaks."""
    main = [stack for stack in found.stacks if stack.main]
    return Entry(
        model_type,
        class_name,
        stacks=[_stack(stack) for stack in main],
        shared=[f"{stack.path}: {stack.shared}" for stack in main if stack.shared],
        doubts=[doubt.reason for doubt in found.doubts],
        backing=" + ".join(sorted({_backing(stack.evidence) for stack in main})) or "none",
        broken=broken_laws(found),
    )


def _stack(stack: Stack) -> str:
    stages = f" in {len(stack.stages)} stages" if stack.stages else ""
    return f"{stack.path} ({stack.length}{stages})"


def _backing(evidence: Iterable[str]) -> str:
    """Return the strongest kind of evidence for a stack."""
    texts = " ".join(evidence)
    if "makes it longer" in texts:
        return "cause"
    if "num_hidden_layers = " in texts:
        return "marks and count"
    return "marks" if "GradientCheckpointingLayer" in texts or "the model" in texts else "repetition"


def print_entries(entries: list[Entry]) -> None:
    """Print how many classes were built, what backs their stacks, and every exception by class."""
    built = [entry for entry in entries if not entry.error]
    types = {entry.model_type for entry in built}
    print(f"{len(built)} classes of {len(types)} types built, {len(entries) - len(built)} need a config")
    for words, group in (
        ("with a main stack", [entry for entry in built if entry.stacks]),
        ("with shared layers", [entry for entry in built if entry.shared]),
        ("in doubt", [entry for entry in built if entry.doubts]),
        ("breaking a law", [entry for entry in built if entry.broken]),
    ):
        print(f"{words:24}{len(group)}")
    for backing, count in Counter(entry.backing for entry in built).most_common():
        print(f"stacks by {backing:30}{count}")
    print(f"seconds, median and most: {_seconds(built)}")
    for entry in built:
        _print_exceptions(entry)


def _seconds(built: list[Entry]) -> str:
    taken = sorted((entry.seconds, entry.class_name) for entry in built)
    return f"{taken[len(taken) // 2][0]:.3f}, {taken[-1][0]:.2f} ({taken[-1][1]})"


def _print_exceptions(entry: Entry) -> None:
    name = f"{entry.model_type} {entry.class_name}"
    for law, places in entry.broken.items():
        print(f"broken {law}: {name}: {'; '.join(places[:4])} ({len(places)})")
    if entry.doubts:
        print(f"in doubt: {name}: {'; '.join(entry.doubts)}")
    if entry.shared:
        print(f"shared: {name}: {'; '.join(entry.shared)}")
    if not entry.stacks or "repetition" in entry.backing or entry.backing == "marks":
        print(f"by {entry.backing}: {name}: {', '.join(entry.stacks) or 'no main stack'}")
