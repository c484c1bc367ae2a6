"""Reads a run's folder back: the model with its heads, the tokenizer, the labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.inventory.loading import load_model, load_tokenizer
from freezeplan.inventory.runs import RUN_MARKER, read_run
from freezeplan.spec.tables import Spec

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class SavedRun:
    """Hold a run that was read back.

    ``labels`` maps each task to its labels in the order of its head's outputs. ``record`` is the whole of
    ``run.json``: ``status``, ``epoch``, ``max_length`` and more.
    """

    folder: Path
    model: torch.nn.Module
    tokenizer: Any
    labels: Mapping[str, tuple[str, ...]]
    record: Mapping[str, Any]

    @property
    def max_length(self) -> int:
        """Most tokens of a text, as in training."""
        return self.record["max_length"]

    @property
    def batch_size(self) -> int:
        """Texts per batch."""
        return self.record["eval_batch_size"]


def load_run(folder: Path) -> SavedRun:
    """Load a run from its folder, the model in eval mode on the CPU.

    Raises ``DiagnosticError``: FP520 when it is no run's folder, FP521 when a file of it is missing or
    damaged.
    """
    folder = Path(folder)
    if not (folder / RUN_MARKER).is_file():
        what = f"it has no `{RUN_MARKER}`" if folder.is_dir() else "there is no such folder"
        message = f"`{folder}` is not the folder of a run: {what}"
        raise DiagnosticError([diagnostic("FP520", message, help="name the folder that `train --out` wrote")])
    record, spec = _read(folder)
    try:
        model, loaded = load_model(spec)
        tokenizer = load_tokenizer(spec)
    except DiagnosticError as error:
        raise _damaged(folder, error.diagnostics[0].message) from error
    if loaded.fresh:
        raise _damaged(folder, f"its weights lack `{loaded.fresh[0]}`")
    labels = {task.name: tuple(task.labels or ()) for task in spec.task}
    return SavedRun(folder, model.eval(), tokenizer, labels, record)


def _read(folder: Path) -> tuple[dict[str, Any], Spec]:
    try:
        run = read_run(folder)
        record = json.loads((folder / RUN_MARKER).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(folder, str(error)) from error
    numbers = [record.get(name) for name in ("max_length", "eval_batch_size")]
    sound = all(isinstance(number, int) and number > 0 for number in numbers)
    if run is None or not run.tasks or not sound or run.pooling not in ("mean", "cls"):
        raise _damaged(folder, f"`{RUN_MARKER}` does not hold what a run writes")
    model = {"source": str(folder.resolve()), "pooling": run.pooling}
    if record.get("dtype") in DTYPES:
        model["dtype"] = record["dtype"]
    tasks = [
        {"name": name, "kind": task.kind, "labels": list(task.labels)} for name, task in run.tasks.items()
    ]
    try:
        return record, Spec.model_validate({"model": model, "task": tasks})
    except ValueError as error:
        raise _damaged(folder, f"`{RUN_MARKER}` names tasks that no spec allows") from error


def _damaged(folder: Path, reason: str) -> DiagnosticError:
    message = f"the run `{folder}` cannot be used: {reason}"
    return DiagnosticError(
        [diagnostic("FP521", message, help="copy the folder again, whole, or train again")]
    )
