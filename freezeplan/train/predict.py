"""Labels texts or images with a finished run: the backbone runs once for each, for all tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy
import torch

from freezeplan.data.encoder import Encoder
from freezeplan.data.findings import Flaws
from freezeplan.data.modality import IMAGE, MESSAGES, TOKENS, Kind
from freezeplan.data.row_blocks import RowBlocks, columns_in
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.prefix.examples import in_chunks, rows_at_once
from freezeplan.tasks import Answering
from freezeplan.train.failures import explained
from freezeplan.train.generating import completions
from freezeplan.train.launching import chosen_device
from freezeplan.train.saved_run import SavedRun, check_task, load_run
from freezeplan.train.tokens import WORDS

OPTIONS = {"text_pair": "--pair-column"}
ROLES = {TOKENS.name: "tokens", MESSAGES.name: "asked"}
"""What a column of a data file holds, where that is no text."""


@dataclass(frozen=True)
class Asked:
    """Say what is asked of a run: which ``tasks`` (None: all), and whether each label's probability is told.

    A language model's completions have ``max_new_tokens`` at most, 64 where it is None.
    """

    tasks: Sequence[str] | None = None
    probabilities: bool = False
    max_new_tokens: int | None = None

    def of(self, run: SavedRun) -> tuple[str, ...]:
        """Return the tasks, in the order of the run's spec; raises ``DiagnosticError`` (FP574) for one it has not."""
        for name in self.tasks or ():
            check_task(run, name)
        return tuple(name for name in run.labels if self.tasks is None or name in self.tasks)


ALL = Asked()


def predict(folder: Path, inputs: Iterable[Any], asked: Asked = ALL) -> Iterator[dict[str, Any]]:
    """Label texts, or images, with every task of a run, or those that are asked for.

    ``inputs`` are texts for a run that read texts; for one that read images, paths of image files (or image
    objects of Pillow, encoded images as bytes, numbers as in the data); for tasks over pairs of texts, tuples of
    two, or texts with a tab between. Yields, in their order,
    ``{"text": …, "<task>": {"label": …, "score": …}, …}`` (``"image"`` for images) with the tasks in the
    order of the run's spec; of a language model ``{"prompt": …, "<task>": {"completion": …}}``
    (:func:`~freezeplan.train.generating.completions`). ``score`` is the probability that the head gives to the
    label (softmax), and ``probabilities``, where they are asked for, maps every label to its own. Inputs
    are read and answered batch by batch. Raises ``DiagnosticError``: FP520 and FP521 for a folder that cannot
    be used and FP574 for a task (at the call, not at the first answer), FP530 for an input that cannot be used,
    named by its number, FP531 where the outputs are no numbers.
    """
    return answers(*ready(folder), inputs, asked)


def predict_file(
    folder: Path,
    path: Path,
    column: str | None = None,
    asked: Asked = ALL,
    pair_column: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Label the rows of a data file, read as training reads it: the texts, or paths of images, of one column.

    The column is that of the run's own data unless it is named, and so is that of the second texts where it reads
    pairs. Memory does not grow with the file. Yields as :func:`predict` does, and raises
    what it raises; FP530 names rows by their lines, and FP574 tasks whose columns have different names.
    """
    run, device = ready(folder)
    tasks = asked.of(run)
    kind = run.encoder_for(tasks).kind
    own = (
        _own_column(run, tasks, key) if name is None else name
        for key, name in _columns(kind, column, pair_column)
    )
    return answers(run, device, inputs_in(kind, path, *own), asked)


def _own_column(run: SavedRun, tasks: Sequence[str], key: str) -> str | None:
    """Return the column of some tasks' own data that a key names; None where the run does not say."""
    found = {task: run.record["tasks"][task].get("columns", {}).get(key) for task in tasks}
    names = {task: name for task, name in found.items() if name is not None}
    if len(set(names.values())) > 1:
        said = ", ".join(f"`{task}` column `{name}`" for task, name in names.items())
        message = f"the run's tasks read different columns of their own data: {said}"
        advice = f"name the file's with {OPTIONS.get(key, '--column')}, or one task with `--task`"
        raise DiagnosticError([diagnostic("FP574", message, help=advice)])
    return next(iter(names.values()), None)


def _columns(kind: Kind, *named: str | None) -> Iterator[tuple[str, str | None]]:
    """Yield the keys of what is read of a file, and the columns that were named for them."""
    yield from zip(kind.takes, named, strict=False)


def inputs_in(
    kind: Kind, path: Path, column: str | None = None, pair_column: str | None = None
) -> Iterable[Any]:
    """Return what a data file holds of a kind of inputs, row by row, read a block at a time.

    Raises ``DiagnosticError`` for a file that cannot be read (FP452 to FP456) and rows that cannot be used (FP530).
    """
    if pair_column is not None and not kind.several:
        message = f"the run reads {kind.plural}, one of them per row, and `{pair_column}` would be a second"
        raise DiagnosticError([diagnostic("FP530", message, help="leave --pair-column out")])
    takes = kind.takes[:2]
    given = (column or takes[0], pair_column or takes[-1])[: len(takes)]
    if len(set(given)) < len(given):
        message = f"both texts of a pair would be of column `{given[0]}`"
        raise DiagnosticError([diagnostic("FP530", message, help="name two columns")])
    options = dict(zip(given, ("--column", "--pair-column"), strict=False))
    rows = columns_in(path, options, ROLES.get(kind.name, "text"))
    return rows if kind.several else _single(rows, path.parent if kind is IMAGE else None)


def _single(rows: RowBlocks, folder: Path | None) -> Iterator[Any]:
    """Yield the values of one column; paths start at ``folder``, where it is one of paths."""
    for (value,) in rows:
        yield value if folder is None else str(folder / value)


def ready(folder: Path) -> tuple[SavedRun, torch.device]:
    """Load a run and put its model on the accelerator, where there is one."""
    run = load_run(folder)
    device = chosen_device()
    run.model.to(device)
    return run, device


def answers(
    run: SavedRun, device: torch.device, inputs: Iterable[Any], asked: Asked = ALL
) -> Iterator[dict[str, Any]]:
    """Yield the answers to inputs, in their order, as :func:`predict` does."""
    tasks = asked.of(run)
    if run.continues(tasks):
        return completions(run, device, inputs, tasks, asked.max_new_tokens)

    def label(found: Rows, batch: dict[str, torch.Tensor], words: Words) -> None:
        _label(run, tasks, asked.probabilities, found, batch, words)

    encoder = run.encoder_for(tasks)

    def named(batch: list[Any]) -> list[dict[str, Any]]:
        several = encoder.kind.several
        return [dict(zip(encoder.kind.takes, value if several else [value], strict=False)) for value in batch]

    return _batched(run, encoder, device, inputs, named, label)


def vectors(run: SavedRun, device: torch.device, inputs: Iterable[Any]) -> Iterator[torch.Tensor]:
    """Yield the pooled vector of each input, ``(hidden,)`` in float32 on the CPU, in their order."""

    def fill(found: Rows, batch: dict[str, torch.Tensor], words: Words) -> None:
        with explained():
            pooled = run.model.vectors(**batch).float().cpu()
        for place, vector in zip(found, _finite(run, "its backbone", pooled), strict=True):
            place["vector"] = vector

    rows = _batched(run, run.encoder, device, inputs, lambda batch: [{} for _ in batch], fill)
    return (row["vector"] for row in rows)


Rows = list[dict[str, Any]]
Words = numpy.ndarray | None
Fill = Callable[[Rows, dict[str, torch.Tensor], Words], None]


def _batched(
    run: SavedRun,
    encoder: Encoder,
    device: torch.device,
    inputs: Iterable[Any],
    named: Callable[[list[Any]], Rows],
    fill: Fill,
) -> Iterator[dict[str, Any]]:
    rest, done = iter(inputs), 0
    while batch := list(islice(rest, run.batch_size)):
        values = [encoder.located(value) for value in batch]
        flaws = Flaws(
            {row: flaw for row, value in enumerate(values, 1) if (flaw := encoder.flaw(value)) is not None}
        )
        check_flaws(flaws, encoder.kind, done)
        apart = getattr(encoder, "apart", False)
        for part in _of_one_width(values) if apart else [slice(0, len(batch))]:
            encoded = encoder.encode_apart(values[part]) if apart else encoder.encode(values[part])
            check_flaws(encoded.flaws, encoder.kind, done + part.start)
            shown = values if encoder.kind.several or encoder.kind is TOKENS else batch
            yield from _filled(run, named(shown[part]), encoded, device, fill)
        done += len(batch)


def _of_one_width(rows: Sequence[Sequence[str]]) -> Iterator[slice]:
    """Yield the runs of neighbours that hold equally many texts."""
    start = 0
    for _, alike in groupby(rows, key=len):
        end = start + sum(1 for _ in alike)
        yield slice(start, end)
        start = end


def check_flaws(flaws: Flaws, kind: Kind, done: int) -> None:
    """Raise ``DiagnosticError`` (FP530) with the flawed inputs among those that come after ``done`` others."""
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
def _filled(
    run: SavedRun,
    rows: Rows,
    encoded: Any,
    device: torch.device,
    fill: Fill,
) -> Rows:
    """Run encoded inputs, those of like length together; returns the rows in the order of the inputs."""
    lengths, count = encoded.lengths, len(rows)
    # Texts that are compared stand in one batch, all first ones before all second ones.
    texts = len(encoded) // count
    alike = lengths is not None and texts == 1
    order = (-lengths).argsort(kind="stable") if alike else range(count)
    for places in in_chunks(len(rows), rows_at_once(device.type, run.batch_size)):
        chosen = [int(row) for row in order[places.start : places.stop]]
        words = encoded.padded(WORDS, chosen, 0) if WORDS in getattr(encoded, "inputs", ()) else None
        entries = [row + text * count for text in range(texts) for row in chosen]
        fill([rows[row] for row in chosen], run.encoder.batch(encoded, entries, device), words)
    return rows


def _label(
    run: SavedRun,
    tasks: Sequence[str],
    probabilities: bool,
    found: Rows,
    batch: dict[str, torch.Tensor],
    words: Words,
) -> None:
    with explained():
        pooled = run.model.pool(**batch)
    form = Answering(probabilities, words, [row.get(TOKENS.name, ()) for row in found])
    for task in tasks:
        labels = run.labels[task]
        name = f"task `{task}`"
        out = _finite(run, name, run.model.logits(task, pooled, batch).float())
        out = run.kinds[task].by_row(out, len(found))
        given = run.kinds[task].answers(out, labels, form)
        for answer, value in zip(found, given, strict=True):
            answer[task] = value


def _finite(run: SavedRun, what: str, logits: torch.Tensor) -> torch.Tensor:
    """Return logits as they are; raises ``DiagnosticError`` (FP531) where one is no number."""
    if logits.isfinite().all():
        return logits
    message = f"the model gives no numbers for {what}: its outputs hold NaN or infinity"
    advice = "train again with lower rates; of float16, prefer bfloat16 or float32"
    raise DiagnosticError([diagnostic("FP531", message, help=advice, notes=[f"the run is `{run.folder}`"])])
