"""A run's own folder as the source of its model: what it goes on from, wherever its first source has gone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.models.run_record import RUN_MARKER
from freezeplan.models.sealed import file_sha256
from freezeplan.spec.tables import Spec

CHANGING = ("spec.toml", "plan.json", "metrics.jsonl", "evidence.json")
WEIGHTS = ".safetensors"


def own_spec(spec: Spec, folder: Path) -> Spec:
    """Return a run's spec with its own folder as the model's source: config, tokenizer or image processor.

    A model that runs code of its own stays where it is: a run's folder does not hold that code.
    """
    if spec.model.trust_remote_code:
        return spec
    gone = {"architecture": None, "config": None, "revision": None}
    table = spec.model.model_copy(update={**gone, "source": str(folder.resolve())})
    return spec.model_copy(update={"model": table})


def check_own(folder: Path) -> None:
    """Check config and encoder in a run's folder against the hashes in ``run.json``.

    Raises ``DiagnosticError`` (FP521) for one that is missing or not the file that was written.
    """
    for name, expected in _recorded(folder).items():
        place = folder / name
        if not place.is_file() or file_sha256(place) != expected:
            what = (
                "is not the file that the run wrote (its sha256 differs)" if place.exists() else "is missing"
            )
            message = f"the run `{folder}` cannot be used: `{name}` {what}"
            advice = "copy the file again, from a copy of the run or from the source that it began with"
            raise DiagnosticError([diagnostic("FP521", message, help=advice)])


def copy_own(folder: Path, place: Path) -> None:
    """Copy config and encoder of a run's folder as they are."""
    for name in _recorded(folder):
        shutil.copyfile(folder / name, place / name)


def _recorded(folder: Path) -> dict[str, str]:
    """Return the hashes of the files that stay the same for the whole run."""
    try:
        record = json.loads((folder / RUN_MARKER).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        record = {}
    files: Any = record.get("files") if isinstance(record, dict) else None
    return dict(_unchanging(files)) if isinstance(files, dict) else {}


def _unchanging(files: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name, digest in files.items():
        if "/" not in name and name not in CHANGING and not name.endswith(WEIGHTS):
            yield name, digest
