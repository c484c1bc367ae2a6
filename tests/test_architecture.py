"""The rules of the house that a machine can hold: who may import whom, no cycles, no torch where none is needed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "freezeplan"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
# Bottom to top: a room imports from those before it.
ORDER = (
    "diagnostics",
    "outside",
    "tasks",
    "spec",
    "data",
    "inventory",
    "models",
    "plan",
    "apply",
    "prefix",
    "cost",
    "render",
    "runs",
    "train",
    "choose",
    "report",
    "export",
    "guests",
    "importing",
    "api",
    "cli",
)
ROOMS = {name: set(ORDER[:place]) for place, name in enumerate(ORDER)}
# `plan` reads records alone (a test of its own below), tables are drawn from plain records, and what talks to
# foreign libraries knows nothing of ours.
ROOMS["outside"] = set()
ROOMS["plan"] = {"diagnostics", "spec", "inventory"}
ROOMS["apply"] = {"diagnostics", "tasks", "spec", "inventory", "plan"}
ROOMS["render"] = {"diagnostics", "tasks", "spec", "inventory", "plan", "cost"}
ROOMS["report"] = {"diagnostics", "outside", "models", "plan", "render", "choose"}
ROOMS["guests"] = {"diagnostics", "spec", "inventory", "plan", "apply"}
ROOMS["importing"] = {"diagnostics", "spec", "inventory", "plan"}
HEAVY = {"torch", "transformers", "datasets", "accelerate", "sklearn"}
WITHOUT_TORCH = ("diagnostics", "spec", "plan", "render", "report")
# Of a room that knows live models, the compiler may only know the records.
INVENTORY_FOR_PLAN = {"freezeplan.inventory.records"}
WITH_TORCH = ("prefix", "cost", "runs", "train", "choose", "export", "guests")
# What tables are drawn from is plain; the model behind it is not.
COST_FOR_RENDER = {"freezeplan.cost.records"}
# These handle tensors throughout; others import them inside functions only.
TORCH_AT_THE_TOP = {
    "freezeplan.apply.buckets",
    "freezeplan.apply.chain",
    "freezeplan.apply.fingerprints",
    "freezeplan.apply.optimizer_counts",
    "freezeplan.apply.on_cpu",
    "freezeplan.apply.sharing_out",
    "freezeplan.apply.tensors",
    "freezeplan.apply.widening",
    "freezeplan.models.loading",
    "freezeplan.models.multitask",
    "freezeplan.models.precision",
    "freezeplan.models.native",
    "freezeplan.tasks.contrast",
    "freezeplan.tasks.heads",
    "freezeplan.tasks.products",
    "freezeplan.tasks.token_logits",
}


def imports(path: Path, *, top_only: bool = False) -> Iterator[str]:
    """Yield the modules that a file imports; ``top_only`` leaves out those inside functions and for types."""
    todo: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if not (top_only and _not_at_import(node)):
            todo.extend(ast.iter_child_nodes(node))


def _not_at_import(node: ast.AST) -> bool:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return True
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def room(module: str) -> str:
    """Return the room of a module of ours (``freezeplan`` itself and ``__main__`` are at the door)."""
    return (module.split(".") + [""])[1]


def of_ours(path: Path, *, top_only: bool = False) -> set[str]:
    """Return our own modules that a file imports."""
    return {name for name in imports(path, top_only=top_only) if name in MODULES}


@pytest.mark.parametrize("module", [name for name in MODULES if room(name) in ROOMS])
def test_no_module_imports_upward(module: str) -> None:
    rooms = {room(other) for other in of_ours(MODULES[module])} - {room(module), ""}
    assert rooms <= ROOMS[room(module)]


def test_every_folder_of_the_package_is_a_known_room() -> None:
    folders = {room(name) for name in MODULES if room(name)} - {"__main__"}
    assert folders <= ROOMS.keys() | {"presets"}


@pytest.mark.parametrize("module", [name for name in MODULES if room(name) == "plan"])
def test_the_compiler_knows_models_by_their_records_only(module: str) -> None:
    known = {name for name in of_ours(MODULES[module]) if room(name) == "inventory"}
    assert known <= INVENTORY_FOR_PLAN | {"freezeplan.inventory"}


def test_tables_know_costs_by_their_records_and_import_none_of_it() -> None:
    for module, path in MODULES.items():
        if room(module) == "render":
            assert {name for name in of_ours(path) if room(name) == "cost"} <= COST_FOR_RENDER, module
            assert not {name for name in of_ours(path, top_only=True) if room(name) == "cost"}, module


@pytest.mark.parametrize("module", [name for name in MODULES if room(name) in WITHOUT_TORCH])
def test_these_rooms_never_import_torch(module: str) -> None:
    assert not {name.partition(".")[0] for name in imports(MODULES[module])} & HEAVY


def test_only_rooms_of_tensors_and_few_modules_import_torch_when_they_are_imported() -> None:
    heavy = {name for name, path in MODULES.items() if _roots(path) & HEAVY}
    while (
        importers := {name for name, path in MODULES.items() if of_ours(path, top_only=True) & heavy} - heavy
    ):
        heavy |= importers
    assert {name for name in heavy if room(name) not in WITH_TORCH} == TORCH_AT_THE_TOP


def _roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path, top_only=True)}


def test_no_modules_import_each_other_in_a_circle() -> None:
    edges = {name: _targets(name, path) for name, path in MODULES.items()}
    while leaves := [name for name, targets in edges.items() if not targets & edges.keys()]:
        for name in leaves:
            del edges[name]
    assert not edges


def _targets(module: str, path: Path) -> set[str]:
    """Return what a file imports when it is imported; a package's own files do not wait for its front."""
    return {
        name for name in of_ours(path, top_only=True) if name != module and not module.startswith(name + ".")
    }


def test_a_public_class_has_a_name_of_its_own() -> None:
    homes: dict[str, list[str]] = {}
    for name, path in MODULES.items():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(name)
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_files_are_short() -> None:
    lengths = {path.name: path.read_text("utf-8").count("\n") for path in MODULES.values()}
    assert {name: length for name, length in lengths.items() if length >= 400} == {}


LEFT_OUT = """
import atexit, runpy, sys
def report():
    heavy = {name.partition(".")[0] for name in sys.modules} & {"torch", "transformers", "datasets", "sklearn"}
    print("heavy:", *sorted(heavy), file=sys.stderr)
atexit.register(report)
"""
RUN = "runpy.run_module('freezeplan', run_name='__main__')"
LIGHT = {
    "import freezeplan": "import freezeplan; freezeplan.load_spec, freezeplan.compile_plan",
    "freezeplan --help": f"sys.argv = ['freezeplan', '--help']; {RUN}",
    "freezeplan explain": f"sys.argv = ['freezeplan', 'explain', 'FP201']; {RUN}",
}


@pytest.mark.parametrize("what", LIGHT)
def test_it_leaves_torch_and_transformers_alone(what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEFT_OUT + LIGHT[what]],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1].rstrip() == "heavy:"
