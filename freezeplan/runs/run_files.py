"""The files of a run's folder: weights, tokenizer or image processor, plan, spec, how far the run got."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import tomli_w
import torch
from safetensors.torch import save_file

from freezeplan.apply.tensors import weights
from freezeplan.data.encoder import Encoder
from freezeplan.models.attention import save_config
from freezeplan.models.run_record import RUN_MARKER, RUN_WEIGHTS, RunRecord, RunTask
from freezeplan.plan.document import plan_hash, to_json
from freezeplan.plan.records import Plan
from freezeplan.runs.checkpoints.store import file_sha256
from freezeplan.runs.evidence import Evidence
from freezeplan.runs.metrics_log import MetricsLog
from freezeplan.runs.position import Position
from freezeplan.runs.run_folder import write_json
from freezeplan.spec.tables import Spec

LIBRARIES = ("freezeplan", "torch", "transformers", "tokenizers", "datasets", "accelerate", "safetensors")
SPEC_NOTE = (
    "# The spec of this run, whole; relative paths start at the folder of the file that it was read from.\n\n"
)


@dataclass
class RunFiles:
    """Know what a run's files hold; each ``write_…`` puts some of them into a folder.

    ``labels`` maps the tasks to their labels in the order of the heads' outputs; ``epochs`` counts those of the
    whole run, at most. ``hashes`` holds the sha256 of every file that was written, for ``run.json``.
    ``plan_text`` is the plan as JSON; a resumed run keeps the one it began with, whose advice has its places, and
    its config and encoder, which ``model_files`` then copies. ``attention`` is what the config asks for.
    """

    spec: Spec
    plan: Plan
    model: torch.nn.Module
    encoder: Encoder
    labels: Mapping[str, tuple[str, ...]]
    log: MetricsLog
    epochs: int
    attention: Mapping[str, Any] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.plan_text = to_json(self.plan)
        self.model_files: Callable[[Path], None] | None = None

    def write_start(self, folder: Path) -> None:
        """Write what stays the same for the whole run: the backbone's config, the encoder, spec and plan."""
        if self.model_files is None:
            save_config(self.model.backbone.config, self.attention, folder)
            self.encoder.save(folder)
        else:
            self.model_files(folder)
        (folder / "spec.toml").write_text(SPEC_NOTE + spec_text(self.spec), "utf-8")
        (folder / "plan.json").write_text(self.plan_text, "utf-8")

    def write_weights(self, folder: Path) -> None:
        """Write every parameter and persistent buffer once, tied ones under their first name."""
        # One entry only: safetensors writes several in an order that changes from run to run.
        save_file(weights(self.model), folder / RUN_WEIGHTS, metadata={"format": "pt"})
        _set_usual_mode(folder / RUN_WEIGHTS)

    def write_state(self, folder: Path, status: str, position: Position, evidence: Evidence | None) -> None:
        """Write how far the run got: ``metrics.jsonl``, ``evidence.json`` if there is any, ``run.json``.

        ``run.json`` holds the sha256 of every other file. It is put in place last, so after a crash between two
        files it does not fit, and ``verify`` finds that out.
        """
        (folder / "metrics.jsonl").write_text(self.log.as_lines(), "utf-8")
        if evidence is not None:
            write_json(folder / "evidence.json", evidence.as_record())
        self.hashes |= {item.name: file_sha256(item) for item in folder.iterdir() if item.is_file()}
        write_json(folder / RUN_MARKER, self._record(status, position, evidence))

    def _record(self, status: str, position: Position, evidence: Evidence | None) -> dict[str, Any]:
        tasks = {task.name: RunTask(tuple(self.labels[task.name]), task.kind) for task in self.spec.task}
        record = RunRecord(tasks, self.spec.model.pooling, "spec.toml").as_record()
        for task in self.spec.task:
            if task.data is not None:
                record["tasks"][task.name] |= {
                    "columns": {task.data.kind: task.data.column, "label": task.data.label}
                }
        return record | {
            "status": status,
            "epoch": position.epoch,
            "epochs": self.epochs,
            "step": position.step,
            "phase": self.plan.phases[position.phase].name,
            "ended": position.ended,
            "execution": _execution(evidence),
            "input": self.encoder.kind.name,
            "max_length": self.encoder.max_length,
            "eval_batch_size": self.spec.train.eval_batch_size,
            "dtype": self.spec.model.dtype,
            "libraries": libraries(),
            "plan_hash": plan_hash(self.plan),
            "files": dict(sorted(self.hashes.items())),
        }


def _execution(evidence: Evidence | None) -> dict[str, str]:
    """Return how the frozen part of each phase so far ran, by the phase's name."""
    phases = evidence.phases if evidence else ()
    return {item["phase"]: item["execution"] for item in phases if item["execution"]}


def spec_text(spec: Spec) -> str:
    """Return a spec as TOML, what it extends merged in and what it leaves to defaults left out."""
    values = spec.model_dump(by_alias=True, exclude_unset=True, exclude_none=True, exclude={"extends"})
    return tomli_w.dumps(values)


def libraries() -> dict[str, str | None]:
    """Return the versions of the libraries that a run's results depend on."""
    return {name: _version(name) for name in LIBRARIES}


@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _set_usual_mode(path: Path) -> None:
    """Give a file the permissions of any new file: safetensors makes its own readable by the owner alone."""
    probe = path.with_name("mode")
    probe.touch()
    shutil.copymode(probe, path)
    probe.unlink()
