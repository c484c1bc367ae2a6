"""What shipped specs and presets do, as locks in the repository: a change of a plan shows in a review.

``python -m tools.locks`` writes ``tests/locks``: one lock for each spec in ``specs``, and for each preset on each of a
dozen architectures of three layers. Where one changes, an unchanged spec gives other groups: say so under
"Plan changes" in the changelog. Libraries and digests are left out of these locks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.timm_models import import_timm
from freezeplan.api import compile_plan
from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.records import Inventory
from freezeplan.models.sources import inventory_for
from freezeplan.plan.comparable import comparable
from freezeplan.plan.document import to_record
from freezeplan.plan.lock import lock_text
from freezeplan.plan.records import Plan
from freezeplan.spec.extends import preset_names
from freezeplan.spec.reading import load_spec

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tests" / "locks"
REFUSED = "refused: "
SMALL = {"num_hidden_layers": 3, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
DECODER = {**SMALL, "num_key_value_heads": 1, "head_dim": 8}
PAIR = {"d_model": 16, "encoder_layers": 3, "decoder_layers": 3}
PYRAMID = {"depths": [1, 1, 2, 1], "hidden_sizes": [8, 16, 32, 64]}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "albert": {**SMALL, "embedding_size": 8},
    "bart": {**PAIR, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32},
    "bert": SMALL,
    "convnext": PYRAMID,
    "deberta-v2": SMALL,
    "distilbert": {"n_layers": 3, "dim": 16, "hidden_dim": 32, "n_heads": 2},
    "gpt2": {"n_layer": 3, "n_embd": 16, "n_head": 2},
    "llama": DECODER,
    "modernbert": SMALL,
    "resnet": {**PYRAMID, "embedding_size": 8},
    "roberta": SMALL,
    "swin": {"embed_dim": 8, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 2, 2]},
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 3, "num_heads": 2},
    "vit": SMALL,
}


def lock_of(plan: Plan, name: str) -> str:
    """Return a plan as a lock that says nothing of what it came from."""
    record = comparable(to_record(plan))
    return lock_text(record, {"spec": {}, "libraries": {}, "model": record["model"]}, name)


def spec_locks() -> Iterator[tuple[str, str]]:
    """Yield the file name and the text of the lock of each shipped spec."""
    for path in sorted((ROOT / "specs").glob("*.toml")):
        yield f"{path.stem}.lock", spec_lock(path)


def spec_lock(path: Path) -> str:
    """Return the lock of one spec, for the model that it names."""
    spec = load_spec(path)
    return lock_of(compile_plan(inventory_for(spec), spec), path.name)


def preset_locks(architecture: str) -> Iterator[tuple[str, str]]:
    """Yield the same for each preset on an architecture; one that is refused has its codes for a text."""
    inventory = inventory_for(load_spec(_table(architecture)))
    for preset in preset_names():
        yield f"{preset}@{architecture}.lock", _preset_lock(preset, architecture, inventory)


def _table(architecture: str) -> dict[str, Any]:
    config = {"model_type": architecture, **ARCHITECTURES[architecture]}
    return {"model": {"config": config}, "task": [{"name": "topic", "labels": ["a", "b"]}]}


def _preset_lock(preset: str, architecture: str, inventory: Inventory) -> str:
    spec = load_spec({"extends": f"preset:{preset}", **_table(architecture)})
    try:
        return lock_of(compile_plan(inventory, spec), f"preset:{preset}")
    except DiagnosticError as error:
        codes = sorted({item.code for item in error.diagnostics if item.is_error})
        return f"{REFUSED}{', '.join(codes)}\n"


def main() -> None:
    """Write every lock, and remove those that nothing stands behind any more."""
    import_timm()
    found = dict(spec_locks())
    for architecture in ARCHITECTURES:
        found |= dict(preset_locks(architecture))
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.lock"):
        if path.name not in found:
            path.unlink()
    for name, text in found.items():
        (FOLDER / name).write_text(text, "utf-8")
    print(f"wrote {len(found)} locks into {FOLDER.relative_to(ROOT)}")


if __name__ == "__main__":
    with TemporaryDirectory() as empty:
        # A config in the user's cache of the hub would stand in for the architecture's defaults.
        os.environ["HF_HUB_CACHE"] = empty
        main()
