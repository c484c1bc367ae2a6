"""Compare imported specs with what the tools themselves do: tables made by running their own code, tensor by tensor.

``python -m benchmarks.imports`` prints per tool how many of its configs, each on several models, come out equal or are
refused with a reason, and with ``--accidents`` every accident that was found. ``import_tables.json`` holds the configs
(patterns and values that are in public use) and what each tool's own functions made of them, by version; a tool that
stopped with an error has ``error`` there, and null stands for what was not run, as the training of an adapter: such a
config must be refused. A config that was taken from a public file has ``owner/repository: path`` as its ``source``;
column ``public`` counts these.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import isclose
from pathlib import Path
from typing import Any

from freezeplan.diagnostics import DiagnosticError
from freezeplan.importing.config_file import read_config
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.translating import Imported, peer_of, translate
from freezeplan.inventory.records import Inventory
from freezeplan.models.sources import inventory_for
from freezeplan.plan.exemptions import PUBLISHED
from freezeplan.plan.gathering import EVERYTHING, without_ranges
from freezeplan.plan.records import Plan
from freezeplan.spec.reading import load_spec

TABLES = Path(__file__).parent / "import_tables.json"
# The source of a config that was taken from a public file.
PUBLIC = re.compile(r"[\w.-]+/[\w.-]+: \S")
# Tools whose training is transformers' Trainer: it decides which tensors decay.
TRAINER = ("axolotl", "llamafactory", "ms-swift", "transformers")


@dataclass(frozen=True)
class Compared:
    """What importing one config for one model gave: ``equal``, ``refused`` or ``different``, and why."""

    case: Mapping[str, Any]
    model: str
    verdict: str
    said: str = ""
    accidents: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def tables() -> dict[str, Any]:
    """Return the tables that are kept."""
    return json.loads(TABLES.read_text("utf-8"))


@lru_cache(maxsize=16)
def inventory_of_model(name: str) -> Inventory:
    """Return the inventory of one of the models."""
    model = tables()["models"][name]
    return inventory_for(load_spec({"model": model}))


def imported(case: Mapping[str, Any], model: str, meant: bool | None = False) -> Imported:
    """Import a config for a model."""
    own = tables()["models"][model]
    names = ModelNames(inventory_of_model(model), case["prefix"], own["config"])
    table = {"architecture": own["config"]["model_type"], "class": own["class"]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, case["file"])
        path.write_text(case["text"], "utf-8")
        config = read_config(path)
        return translate(
            config, peer_of(config, case["peer"]), names, table, Path(folder, "s.toml"), meant=meant
        )


def compare_cases(peer: str) -> Iterator[Compared]:
    """Yield the verdict on every config of a tool with every model."""
    for case in tables()["cases"]:
        if case["peer"] == peer:
            for model, result in case["results"].items():
                yield _compared(case, model, result)


def _compared(case: Mapping[str, Any], model: str, result: Any) -> Compared:
    try:
        done = imported(case, model)
    except DiagnosticError as error:
        errors = [item for item in error.diagnostics if item.is_error]
        is_known = all(item.code in ("FP193", "FP194") for item in errors)
        said = f"{errors[0].code}: {errors[0].message}"
        # What the tool does, and is not restated, must have its reason; what it refuses is an error here too.
        allowed = is_known and (errors[0].code == "FP193" or isinstance(result, dict))
        return Compared(case, model, "refused" if allowed else "different", said)
    accidents = tuple(item.message for item in done.findings if item.code == "FP195")
    if not isinstance(result, list):
        said = "the tool itself stops" if result else "the tool does more than was run"
        return Compared(case, model, "different", said, accidents)
    wrong = next(_differences(case, model, done.plan, result), "")
    return Compared(case, model, "different" if wrong else "equal", wrong, accidents)


def _differences(case: Mapping[str, Any], model: str, plan: Plan, phases: list[Any]) -> Iterator[str]:
    if len(phases) != len(plan.phases):
        yield f"{len(plan.phases)} phases in place of {len(phases)}"
        return
    masked = set(PUBLISHED["transformers"](inventory_of_model(model))) if case["peer"] in TRAINER else set()
    for phase, groups in zip(plan.phases, phases, strict=True):
        expected = dict(_by_name(groups, case["prefix"], [param.name for param in plan.params]))
        for param, what in zip(plan.params, phase.assignments, strict=True):
            wanted = expected[param.name]
            numbers = wanted if isinstance(wanted, list) else [None, None]
            base = plan.optimizers[0]
            usual = 0.0 if param.name in masked else base.weight_decay
            pairs = (
                (what.lr, base.lr if numbers[0] is None else numbers[0]),
                (what.weight_decay, usual if numbers[1] is None else numbers[1]),
            )
            same = all(isclose(a, b, rel_tol=1e-12) for a, b in pairs) if what.trainable else True
            if what.trainable != bool(wanted) or not same:
                yield f"{param.name} in {phase.name}: {what.state} {what.lr} {what.weight_decay}, there {wanted}"


def _by_name(groups: list[Any], prefix: str, names: list[str]) -> Iterator[tuple[str, Any]]:
    for patterns, treatment in groups:
        for path in without_ranges(patterns):
            inside = (
                names if path == EVERYTHING else [n for n in names if f"{prefix}{n}.".startswith(f"{path}.")]
            )
            yield from ((name, treatment) for name in inside)


def public_configs(found: list[Compared]) -> set[str]:
    """Return the configs that were taken from a public file, each once."""
    return {item.case["text"] for item in found if PUBLIC.match(item.case["source"])}


def main() -> None:
    """Print the table, and the accidents if they are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--accidents", action="store_true", help="list every accident")
    asked = parser.parse_args()
    print(
        f"{'tool':22}{'version':>10}{'configs':>9}{'public':>8}{'on models':>11}{'equal':>7}{'refused':>9}"
        f"{'different':>11}"
    )
    seen: list[Compared] = []
    for peer, version in tables()["versions"].items():
        found = list(compare_cases(peer))
        count = Counter(item.verdict for item in found)
        configs, public = len({item.case["text"] for item in found}), len(public_configs(found))
        numbers = (
            f"{configs:>9}{public:>8}{len(found):>11}{count['equal']:>7}{count['refused']:>9}"
            f"{count['different']:>11}"
        )
        print(f"{peer:22}{version:>10}{numbers}")
        seen += found
    for item in seen:
        if item.verdict == "different":
            print(f"different: {item.case['peer']}, {item.case['source']}, {item.model}: {item.said}")
    if asked.accidents:
        print_accidents(seen)


def print_accidents(seen: list[Compared]) -> None:
    """Print every accident once, with the models on which it happens."""
    where: dict[tuple[str, str], list[str]] = {}
    for item in seen:
        for accident in item.accidents:
            where.setdefault((item.case["peer"], accident), []).append(item.model)
    for (peer, accident), models in where.items():
        print(f"{peer} on {', '.join(dict.fromkeys(models))}: {accident}")


if __name__ == "__main__":
    main()
