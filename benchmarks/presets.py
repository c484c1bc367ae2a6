"""Compile every preset on many models: what compiles, what is refused and why, and what is wrong.

``python -m benchmarks.presets`` prints the matrix for common types; ``--types a,b`` for these; ``--all``
for every type of transformers. ``--workers N`` (default 1). The last line counts; the status is 1 if any is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks.building import TookTooLong, in_workers, within
from benchmarks.laws import broken_plan_laws
from benchmarks.reasons import REASONS, is_founded
from freezeplan.api import compile_plan
from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.records import Inventory, ParamInfo
from freezeplan.models.sources import inventory_for
from freezeplan.plan.records import Plan
from freezeplan.spec.extends import preset_names
from freezeplan.spec.reading import load_spec

COMMON = (
    *("albert", "bart", "bert", "bloom", "clip", "convnext", "deberta-v2", "distilbert", "electra", "gemma2"),
    *("gpt2", "llama", "mamba", "mistral", "mixtral", "mpnet", "opt", "qwen3", "resnet", "roberta", "swin"),
    *("t5", "vit", "wav2vec2", "whisper"),
)
CLASSES = ("AutoModel", "AutoModelForSequenceClassification", "AutoModelForCausalLM")
SECONDS = 120


@dataclass(frozen=True)
class Outcome:
    """What one preset gave on one model: ``ok``, ``refused`` with codes, ``wrong`` with what is."""

    verdict: str
    codes: tuple[str, ...] = ()
    message: str = ""

    @property
    def cell(self) -> str:
        """The outcome in few characters."""
        return {"ok": "ok", "wrong": "WRONG"}.get(self.verdict) or "+".join(self.codes)


Row = tuple[str, str, dict[str, Outcome] | str]


def classes_of(model_type: str) -> tuple[str, ...]:
    """Return which of the Auto classes transformers has for a type."""
    from transformers.models.auto import modeling_auto

    mappings = ("MODEL", "MODEL_FOR_SEQUENCE_CLASSIFICATION", "MODEL_FOR_CAUSAL_LM")
    known = [getattr(modeling_auto, f"{name}_MAPPING_NAMES") for name in mappings]
    return tuple(name for name, types in zip(CLASSES, known, strict=True) if model_type in types)


def row_of(key: tuple[str, str]) -> Row:
    """Compile every preset for one type and class; a model that cannot be built gives its reason instead."""
    model_type, class_name = key
    model = {"source": model_type, "architecture": model_type, "class": class_name}
    try:
        inventory = within(SECONDS, lambda: inventory_for(load_spec({"model": model})))
    except DiagnosticError as error:
        return model_type, class_name, error.diagnostics[0].message
    except TookTooLong:
        return model_type, class_name, f"took longer than {SECONDS} s"
    return model_type, class_name, {name: outcome_of(name, inventory) for name in preset_names()}


def outcome_of(preset: str, inventory: Inventory) -> Outcome:
    """Compile one preset, and hold what it gives to what it promises."""
    try:
        plan = compile_plan(inventory, {"extends": f"preset:{preset}"})
    except DiagnosticError as error:
        errors = [item for item in error.diagnostics if item.is_error]
        codes = tuple(sorted({item.code for item in errors}))
        wrong = [item.message for item in errors if not is_founded(item, inventory)]
        return Outcome("wrong" if wrong else "refused", codes, (wrong or [errors[0].message])[0])
    except Exception as error:  # noqa: BLE001 - anything else is what this looks for
        return Outcome("wrong", (), f"{type(error).__name__}: {error}")
    broken = broken_promise(preset, plan, inventory)
    return Outcome("wrong", (), broken) if broken else Outcome("ok")


def broken_promise(preset: str, plan: Plan, inventory: Inventory) -> str | None:
    """Return what a compiled plan does other than its preset says, or a law it breaks; None when nothing."""
    if laws := broken_plan_laws(plan, inventory):
        return "; ".join(f"{law}: {places[0]}" for law, places in laws.items())
    training = set(plan.names(trainable=True))
    if not training and all(item.code != "FP404" for item in plan.diagnostics):
        return "everything is frozen, and nothing says so"
    names: dict[str, list[ParamInfo]] = {}
    for info in inventory.params:
        names.setdefault(info.alias_of or info.name, []).append(info)
    for name, infos in names.items():
        wanted = PROMISES[preset](infos, inventory)
        if wanted is not None and wanted != (name in training):
            return f"`{name}` {'trains' if name in training else 'is frozen'}"
    return None


Promise = Callable[[list[ParamInfo], Inventory], bool | None]


def _has(role: str) -> Promise:
    return lambda infos, inventory: any(role in info.roles for info in infos)


def _free_head(infos: list[ParamInfo]) -> bool:
    return len(infos) == 1 and "heads" in infos[0].roles


def _only(role: str) -> Promise:
    return lambda infos, inventory: (
        _free_head(infos) or any({role, "backbone"} <= info.roles for info in infos)
    )


def _upper(infos: list[ParamInfo], inventory: Inventory) -> bool | None:
    stack = next((item for item in inventory.stacks if item.main and item.path == infos[0].stack), None)
    if len(infos) > 1 or _free_head(infos):
        return _free_head(infos)
    return stack is not None and infos[0].layer is not None and infos[0].layer >= stack.length - 2


def _not_lower(infos: list[ParamInfo], inventory: Inventory) -> bool | None:
    if len(infos) > 1 or "embeddings" in infos[0].roles:
        return False
    stack = next((item for item in inventory.stacks if item.main and item.path == infos[0].stack), None)
    return stack is None or infos[0].layer is None or infos[0].layer >= stack.length // 2


PROMISES: dict[str, Promise] = {
    "bitfit": _only("bias"),
    "embeddings_frozen": lambda infos, inventory: len(infos) == 1 and "embeddings" not in infos[0].roles,
    "linear_probe": _has("heads"),
    "llrd": lambda infos, inventory: True,
    "lower_half_frozen": _not_lower,
    "norms_only": _only("norm"),
    "top_layers": _upper,
}


def print_matrix(rows: Iterable[Row]) -> int:
    """Print one line per model, then the refusals by reason and every wrong cell; returns how many are wrong."""
    presets = preset_names()
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    wrong: list[str] = []
    print(f"{'type':24}{'class':38}" + "".join(f"{name:19}" for name in presets))
    for model_type, class_name, cells in rows:
        if isinstance(cells, str):
            counts["not built"] += 1
            print(f"{model_type:24}{class_name:38}not built: {cells[:120]}")
            continue
        print(f"{model_type:24}{class_name:38}" + "".join(f"{cells[name].cell:19}" for name in presets))
        for name, cell in cells.items():
            counts[cell.verdict] += 1
            reasons.update(cell.codes if cell.verdict == "refused" else ())
            wrong += [f"{model_type} {class_name} {name}: {' '.join(cell.codes)} {cell.message}"] * (
                cell.verdict == "wrong"
            )
    print(*(f"{code} {REASONS[code]}: {count}" for code, count in sorted(reasons.items())), sep="\n")
    print(*wrong, sep="\n")
    print(", ".join(f"{word} {counts[word]}" for word in ("ok", "refused", "wrong", "not built")))
    return counts["wrong"]


def main() -> None:
    """Read the command line, print the matrix, and exit with 1 when a cell is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.presets")
    parser.add_argument("--types", default=",".join(COMMON), help="model types, separated by commas")
    parser.add_argument("--all", action="store_true", help="every type of transformers")
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    from transformers import CONFIG_MAPPING

    types = sorted(CONFIG_MAPPING) if asked.all else asked.types.split(",")
    keys = [(name, item) for name in types for item in classes_of(name)]
    rows = in_workers(row_of, keys, asked.workers) if asked.workers > 1 else map(row_of, keys)
    sys.exit(1 if print_matrix(rows) else 0)


if __name__ == "__main__":
    main()
