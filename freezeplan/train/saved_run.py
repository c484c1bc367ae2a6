"""Reads a run's folder back: the model with its heads, its encoder, the labels."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import torch

from freezeplan.apply.widening import rest
from freezeplan.data.encoder import Encoder
from freezeplan.data.modality import IMAGE, KINDS, PROMPT_ALONE, TEXT
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import closest_or_all, quoted
from freezeplan.inventory.header import read_header
from freezeplan.models.loading import load_model, load_tokenizer
from freezeplan.models.run_record import (
    CHECKPOINTS,
    RUN_MARKER,
    NoCheckpointError,
    RunRecord,
    file_of,
    home_of,
    no_run,
    read_run,
)
from freezeplan.models.sealed import fault_of
from freezeplan.runs.readable import readable
from freezeplan.spec.tables import Pooling, Spec
from freezeplan.tasks import TaskKind, task_kind
from freezeplan.train.encoding import TextEncoder, make_text_encoder
from freezeplan.train.image_encoding import make_image_encoder

COMPARED, CONTINUED = "compared ", "continued "
DTYPES = ("float32", "bfloat16", "float16")
POOLINGS = get_args(Pooling)


@dataclass(frozen=True)
class SavedRun:
    """Hold a run that was read back.

    ``labels`` maps each task to its labels in the order of its head's outputs, ``kinds`` to its kind, ``reads`` to
    ``text`` or ``text_pair`` where the run reads texts. ``record``
    is the whole of ``run.json``: ``status``, ``epoch``, ``max_length`` and more. ``spec`` is what the model was loaded
    by: the run as source, and its tasks.
    """

    folder: Path
    model: torch.nn.Module
    encoder: Encoder
    labels: Mapping[str, tuple[str, ...]]
    kinds: Mapping[str, TaskKind]
    record: Mapping[str, Any]
    spec: Spec
    reads: Mapping[str, str] = field(default_factory=dict)

    @property
    def batch_size(self) -> int:
        """Texts or images per batch."""
        return self.record["eval_batch_size"]

    def continues(self, tasks: Collection[str]) -> bool:
        """Whether some tasks are those of a language model, which goes on where an input ends.

        Raises ``DiagnosticError`` (FP574) for tasks that read different things.
        """
        self.encoder_for(tasks)
        return any(self.kinds[task].own_head for task in tasks)

    def encoder_for(self, tasks: Collection[str]) -> Encoder:
        """Return the encoder of what some tasks read: texts, pairs of texts, or images.

        Raises ``DiagnosticError`` (FP574) for tasks that read different things.
        """
        forms: dict[tuple[str, str], list[str]] = {}
        for task in tasks:
            kind = self.kinds[task]
            how = CONTINUED if kind.own_head else COMPARED if kind.compares else ""
            forms.setdefault((self.reads.get(task, TEXT.name), how), []).append(task)
        if len(forms) > 1:
            said = " and ".join(
                f"{quoted(names)} of {how}{KINDS[form].plural}" for (form, how), names in forms.items()
            )
            message = f"the run has tasks of different inputs: {said}"
            raise DiagnosticError([diagnostic("FP574", message, help="name those of one kind with `--task`")])
        if isinstance(self.encoder, TextEncoder):
            form, how = next(iter(forms), (TEXT.name, ""))
            kind = PROMPT_ALONE if form == PROMPT_ALONE.name else KINDS[form]
            return replace(self.encoder, kind=kind, apart=how == COMPARED)
        return self.encoder


def check_task(run: SavedRun, name: str) -> None:
    """Raise ``DiagnosticError`` (FP574) for a task that a run has not."""
    if name not in run.labels:
        advice = closest_or_all(name, list(run.labels), "tasks")
        raise DiagnosticError([diagnostic("FP574", f"the run has no task `{name}`", help=advice)])


def checkpoint_folder(folder: Path, checkpoint: str) -> Path:
    """Return the folder of a run's checkpoint by its name, or that of the ``best``, which ``train.keep_best`` kept.

    :func:`load_run` and ``source =`` take it for the run with that checkpoint's weights. Raises
    ``DiagnosticError`` (FP520, FP521) where there is no run, or no such checkpoint.
    """
    with readable(Path(folder)):
        home, _ = home_of(Path(folder))
        _check_is_run(home)
        found = _run_of(home, checkpoint)
    return home / CHECKPOINTS / str(found.checkpoint if found else checkpoint)


def load_run(folder: Path) -> SavedRun:
    """Load a run from its folder, the model in eval mode on the CPU.

    The folder of a checkpoint stands for the run with that checkpoint's weights. Every file that the model is
    made from is checked against its hash. Raises ``DiagnosticError``: FP520 when it is no run's folder, FP521
    when a file of it is missing or is not the one that was written.
    """
    folder = Path(folder)
    with readable(folder):
        home, checkpoint = home_of(folder)
        _check_is_run(home)
        run, spec, reads = _read(home, checkpoint)
    record = run.everything
    try:
        model, loaded = load_model(spec)
        encoder = _encoder(spec, model.backbone, record)
    except DiagnosticError as error:
        raise _damaged(folder, error.diagnostics[0].message) from error
    if loaded.fresh:
        raise _damaged(folder, f"its weights lack `{loaded.fresh[0]}`")
    _rest(model, run, home)
    labels = {task.name: tuple(task.labels or ()) for task in spec.task}
    kinds = {task.name: task_kind(task) for task in spec.task}
    return SavedRun(folder, model.eval(), encoder, labels, kinds, record, spec, reads)


def _rest(model: torch.nn.Module, run: RunRecord, home: Path) -> None:
    """Let the weights rest that are kept in half the space in the run's files, as they did when they were used."""
    narrow = run.everything.get("frozen_dtype")
    if narrow not in DTYPES:
        return
    live = dict(model.named_parameters())
    stored = (read_header(file_of(home, file), file).items() for file in run.weights)
    found = [live[name] for rows in stored for name, (_, kind) in rows if kind == narrow and name in live]
    rest(found, getattr(torch, narrow))


def _check_is_run(folder: Path) -> None:
    if not os.path.lexists(file_of(folder, RUN_MARKER)):
        raise no_run(folder)


def _encoder(spec: Spec, backbone: torch.nn.Module, record: Mapping[str, Any]) -> Encoder:
    if record.get("input", TEXT.name) == IMAGE.name:
        return make_image_encoder(spec, backbone)
    return make_text_encoder(load_tokenizer(spec), backbone, record["max_length"])


def check_papers(run: SavedRun) -> None:
    """Raise ``DiagnosticError`` (FP521) where what a run says of itself, beside its model, is not what was written."""
    home, _ = home_of(run.folder)
    for name in ("spec.toml", "plan.json", "evidence.json"):
        expected = run.record.get("files", {}).get(name)
        reason = None if expected is None else fault_of(file_of(home, name), name, expected)
        if reason is not None:
            raise _damaged(run.folder, reason)


def _is_sound(record: Mapping[str, Any]) -> bool:
    wanted = ["eval_batch_size"]
    if record.get("input", TEXT.name) == TEXT.name:
        wanted.append("max_length")
    numbers = [record.get(name) for name in wanted]
    return record.get("input", TEXT.name) in KINDS and all(isinstance(n, int) and n > 0 for n in numbers)


def _read(folder: Path, checkpoint: str | None) -> tuple[RunRecord, Spec, Mapping[str, str]]:
    run = _run_of(folder, checkpoint)
    record = run.everything if run is not None else {}
    if run is None or not run.tasks or not _is_sound(record) or run.pooling not in POOLINGS:
        raise _damaged(folder, f"`{RUN_MARKER}` does not hold what a run writes")
    place = folder if run.checkpoint is None else folder / CHECKPOINTS / run.checkpoint
    model = {"source": str(place.resolve()), "pooling": run.pooling}
    if record.get("dtype") in DTYPES:
        model["dtype"] = record["dtype"]
    tasks = [
        {
            "name": name,
            "kind": task.kind,
            "head": task.head,
            "labels": list(task.labels),
            "max_score": task.max_score,
        }
        for name, task in run.tasks.items()
    ]
    try:
        train = {"precision": record.get("precision", "float32")}
        spec = Spec.model_validate({"model": model, "task": tasks, "train": train})
    except ValueError as error:
        raise _damaged(folder, f"`{RUN_MARKER}` names tasks that no spec allows") from error
    return run, spec, {name: task.reads for name, task in run.tasks.items()}


def _run_of(folder: Path, checkpoint: str | None) -> RunRecord | None:
    try:
        return read_run(folder, checkpoint)
    except NoCheckpointError as error:
        raise _damaged(folder, error.what, error.advice) from error
    except ValueError as error:
        raise _damaged(folder, str(error)) from error


def _damaged(
    folder: Path, reason: str, advice: str = "copy the folder again, whole, or train again"
) -> DiagnosticError:
    message = f"the run `{folder}` cannot be used: {reason}"
    return DiagnosticError([diagnostic("FP521", message, help=advice)])
