"""Labels texts or images with a finished run: the backbone runs once for each, for all tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from freezeplan.data.findings import Flaws
from freezeplan.data.modality import IMAGE, Kind
from freezeplan.data.reader import column_of
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.prefix.examples import in_chunks, rows_at_once
from freezeplan.train.failures import explained
from freezeplan.train.saved_run import SavedRun, load_run


def predict(folder: Path, inputs: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Label texts, or images, with every task of a run.

    ``inputs`` are texts for a run that read texts; for one that read images, paths of image files (or image
    objects of Pillow, encoded images as bytes, numbers as in the data). Yields, in their order,
    ``{"text": …, "<task>": {"label": …, "score": …}, …}`` (``"image"`` for images) with the tasks in the
    order of the run's spec; ``score`` is the probability that the head gives to the label (softmax). Inputs
    are read and answered batch by batch. Raises ``DiagnosticError``: FP520 and FP521 for a folder that cannot
    be used (at the call, not at the first answer), FP530 for an input that cannot be used, named by its
    number, FP531 where the outputs are no numbers.
    """
    run = load_run(folder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run.model.to(device)
    return _answers(run, inputs, device)


def predict_file(folder: Path, path: Path, column: str | None = None) -> Iterator[dict[str, Any]]:
    """Label the rows of a data file, read as training reads it: the texts, or paths of images, of one column.

    The column is called like what the run reads unless it is named. Yields as :func:`predict` does, and raises
    what it raises; FP530 names rows by their lines.
    """
    run = load_run(folder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run.model.to(device)
    kind = run.encoder.kind
    texts = column_of(path, column or kind.name)
    inputs = (str(path.parent / text) for text in texts) if kind is IMAGE else texts
    return _answers(run, inputs, device)


def _answers(run: SavedRun, inputs: Iterable[Any], device: torch.device) -> Iterator[dict[str, Any]]:
    rest, done, encoder = iter(inputs), 0, run.encoder
    while batch := list(islice(rest, run.batch_size)):
        values = [encoder.located(value) for value in batch]
        flaws = Flaws(
            {row: flaw for row, value in enumerate(values, 1) if (flaw := encoder.flaw(value)) is not None}
        )
        _check(flaws, encoder.kind, done)
        encoded = encoder.encode(values)
        _check(encoded.flaws, encoder.kind, done)
        yield from _answer(run, batch, encoded, device)
        done += len(batch)


def _check(flaws: Flaws, kind: Kind, done: int) -> None:
    usual = kind.advice.replace("every row", "every input")
    found = [
        diagnostic(
            "FP530",
            f"input {done + row} is {flaw.what}{f': {flaw.detail}' if flaw.detail else ''}",
            help=flaw.advice or usual,
        )
        for row, flaw in flaws.rows().items()
    ]
    if found:
        raise DiagnosticError(found)


@torch.no_grad()
def _answer(run: SavedRun, inputs: list[Any], encoded: Any, device: torch.device) -> list[dict[str, Any]]:
    """Label encoded inputs, those of like length together; returns the answers in the order of the inputs."""
    answers: list[dict[str, Any]] = [{run.encoder.kind.name: value} for value in inputs]
    lengths = encoded.lengths
    order = range(len(inputs)) if lengths is None else (-lengths).argsort(kind="stable")
    for places in in_chunks(len(inputs), rows_at_once(device.type, run.batch_size)):
        rows = [int(row) for row in order[places.start : places.stop]]
        _label(run, [answers[row] for row in rows], run.encoder.batch(encoded, rows, device))
    return answers


def _label(run: SavedRun, answers: list[dict[str, Any]], batch: dict[str, torch.Tensor]) -> None:
    with explained():
        pooled = run.model.pool(**batch)
    for task, labels in run.labels.items():
        scores, best = (
            _finite(run, task, run.model.logits(task, pooled, batch).float()).softmax(dim=1).max(dim=1)
        )
        for answer, score, index in zip(answers, scores.tolist(), best.tolist(), strict=True):
            answer[task] = {"label": labels[index], "score": score}


def _finite(run: SavedRun, task: str, logits: torch.Tensor) -> torch.Tensor:
    """Return logits as they are; raises ``DiagnosticError`` (FP531) where one is no number."""
    if logits.isfinite().all():
        return logits
    message = f"the model gives no numbers for task `{task}`: its outputs hold NaN or infinity"
    advice = "train again with lower rates; of float16, prefer bfloat16 or float32"
    raise DiagnosticError([diagnostic("FP531", message, help=advice, notes=[f"the run is `{run.folder}`"])])
