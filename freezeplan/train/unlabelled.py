"""The answers to test rows without labels, which a run ends with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from freezeplan.data.encoder import Encoder
from freezeplan.data.pairs import TextPairs
from freezeplan.data.split import Split, TaskData
from freezeplan.data.unlabelled import TEST
from freezeplan.diagnostics import DiagnosticError
from freezeplan.prefix.examples import in_chunks, rows_at_once
from freezeplan.runs.run_files import PREDICTIONS
from freezeplan.tasks import Answering
from freezeplan.train.encoded_rows import encode_split, problems_of
from freezeplan.train.forward import EncodedSplit, Forward, in_eval_mode
from freezeplan.train.tokens import WORDS

WINDOW = 4096
"""Rows among which those of like length run together."""


def encoded_unlabelled(tasks: tuple[TaskData, ...], encoder: Encoder) -> dict[str, EncodedSplit]:
    """Return the encoded inputs of each task's test rows without labels.

    Raises ``DiagnosticError`` with the rows that cannot be used (FP457, FP471).
    """
    found, problems = {}, []
    for task in tasks:
        rows = task.unlabelled.get(TEST)
        if rows is not None:
            encoded = encode_split(rows, encoder, task.kind)
            problems += problems_of(rows, encoded)
            found[task.name] = EncodedSplit(encoded, task.kind, None, task.labels)
    if problems:
        raise DiagnosticError(problems)
    return found


def write_answers(
    folder: Path,
    tasks: tuple[TaskData, ...],
    encoded: Mapping[str, EncodedSplit],
    forward: Forward,
    size: int,
    told: Callable[[str, int], None],
) -> None:
    """Write a file of JSON lines per task into a folder: of each row its number, what was read, and the answer."""
    (folder / PREDICTIONS).mkdir()
    for task in tasks:
        if task.name not in encoded:
            continue
        split = encoded[task.name]
        told(task.name, 0)
        with open(folder / PREDICTIONS / f"{task.name}.jsonl", "w", encoding="utf-8") as file:
            for number, line in enumerate(_lines(task, split, forward, size), 1):
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                if number % size == 0:
                    told(task.name, number)


def _lines(task: TaskData, split: EncodedSplit, forward: Forward, size: int) -> Iterator[dict[str, Any]]:
    rows = task.unlabelled[TEST]
    answers = _answers(forward, task.name, split, rows, size)
    for number, answer in enumerate(answers):
        yield {"row": number + 1, **_given(rows, number), task.name: answer}


def _given(rows: Split, row: int) -> dict[str, Any]:
    """Return what the model read of a row, by the keys of its kind; nothing for an image that is in no file."""
    value = rows.inputs[row]
    values = value if isinstance(rows.inputs, TextPairs) else (value,)
    shown = [str(item) if isinstance(item, Path) else item for item in values]
    if not all(isinstance(item, (str, list)) for item in shown):
        return {}
    return dict(zip(rows.kind.takes, shown, strict=True))


def _answers(
    forward: Forward, task: str, split: EncodedSplit, rows: Split, size: int
) -> Iterator[dict[str, Any]]:
    """Yield the answers to the rows of a split in their order; long texts run together within a window."""
    with in_eval_mode(forward.model):
        for window in in_chunks(len(split), WINDOW):
            yield from _window(forward, task, split, rows, window, size)


@torch.no_grad()
def _window(
    forward: Forward, task: str, split: EncodedSplit, rows: Split, window: range, size: int
) -> list[dict[str, Any]]:
    lengths = split.lengths
    order = list(window) if lengths is None else sorted(window, key=lambda row: -int(lengths[row]))
    found: dict[int, dict[str, Any]] = {}
    for places in in_chunks(len(order), rows_at_once(forward.device.type, size)):
        chosen = order[places.start : places.stop]
        out = forward.outputs(task, split, chosen)
        answers = split.kind.answers(out, split.labels, _form(split, rows, chosen))
        found.update(zip(chosen, answers, strict=True))
    return [found[row] for row in window]


def _form(split: EncodedSplit, rows: Split, chosen: list[int]) -> Answering:
    if not split.kind.reads_words:
        return Answering()
    texts = [rows.inputs[row] for row in chosen]
    return Answering(words=split.inputs.padded(WORDS, chosen, 0), texts=texts)
