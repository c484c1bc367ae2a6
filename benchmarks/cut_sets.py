"""Six tasks over the public sets, cut to some rows, as specs of the packaged MiniLM."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.minilm import SHARED, SOURCE
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec

TEXT = {"text": "text", "label": "label"}
WORDS = {"tokens": "tokens", "tags": "tags"}
SETS: dict[str, tuple[str, dict[str, Any]]] = {
    "cr": ("cr", TEXT),
    "snips": ("snips", TEXT),
    "clinc150": ("clinc150", TEXT),
    "clinc150-domains": ("clinc150", {"text": "text", "label": "domain"}),
    "wikigold": ("wikigold", WORDS),
    "ewt_upos": ("ewt_upos", WORDS),
}
TASK = "task"
RULES = [{"match": "**", "state": "trainable"}, {"match": "@pooler", "state": "frozen"}]


def cut_spec(name: str, rows: int, validation: int, epochs: int, place: Path, **tables: Any) -> Spec:
    """Write the first rows of a set into a folder; return a spec over them that trains everything.

    Validation rows whose label no training row has are left out. ``tables`` take the place of whole tables of the
    spec. Raises ``SystemExit`` where the sets are not there.
    """
    folder, columns = SETS[name]
    if not (SHARED / folder).is_dir():
        raise SystemExit(f"`{SHARED / folder}` is not there: it holds the public set")
    known: set[str] = set()
    for split, most in (("train", rows), ("validation", validation)):
        with (SHARED / folder / f"{split}.jsonl").open(encoding="utf-8") as source:
            lines = list(islice(source, most))
        target = columns.get("label")
        known |= {json.loads(line)[target] for line in lines} if target and split == "train" else set()
        kept = [line for line in lines if not target or json.loads(line)[target] in known]
        (place / f"{split}.jsonl").write_text("".join(kept), "utf-8")
    data = {split: str(place / f"{split}.jsonl") for split in ("train", "validation")} | columns
    kind = "token_classification" if columns is WORDS else "classification"
    values = {
        "model": {"source": SOURCE},
        "rule": RULES,
        "task": [{"name": TASK, "kind": kind, "data": data}],
        "train": {"epochs": epochs, "batch_size": 32},
    }
    return load_spec(values | tables)
