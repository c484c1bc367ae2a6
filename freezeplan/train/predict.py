"""Labels texts with a finished run: the backbone runs once per text, for all tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.train.checks import text_problem
from freezeplan.train.encoding import Encoder, make_encoder
from freezeplan.train.saved_run import SavedRun, load_run


def predict(folder: Path, texts: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Label texts with every task of a run.

    Yields, in the order of the texts, ``{"text": …, "<task>": {"label": …, "score": …}, …}`` with the tasks
    in the order of the run's spec; ``score`` is the probability that the head gives to the label (softmax).
    Texts are read and answered batch by batch. Raises ``DiagnosticError``: FP520 and FP521 for a folder that
    cannot be used (at the call, not at the first answer), FP530 for an input that is not text, named by its
    number.
    """
    run = load_run(folder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run.model.to(device)
    return _answers(run, make_encoder(run.tokenizer, run.model.backbone, run.max_length), texts, device)


def _answers(
    run: SavedRun, encoder: Encoder, texts: Iterable[Any], device: torch.device
) -> Iterator[dict[str, Any]]:
    rest, start = iter(texts), 1
    while batch := list(islice(rest, run.batch_size)):
        _check([text_problem(text) for text in batch], start)
        encoded = encoder.encode(batch)
        _check([None if ids else "text without any token" for ids in encoded.inputs["input_ids"]], start)
        yield from _answer(run, batch, encoder.batch(encoded, range(len(batch)), device))
        start += len(batch)


def _check(problems: Iterable[str | None], start: int) -> None:
    found = [
        diagnostic("FP530", f"input {number} is {what}", help="every input needs a text that is not blank")
        for number, what in enumerate(problems, start)
        if what is not None
    ]
    if found:
        raise DiagnosticError(found)


@torch.no_grad()
def _answer(run: SavedRun, texts: list[str], batch: dict[str, torch.Tensor]) -> list[dict[str, Any]]:
    pooled = run.model.pool(**batch)
    answers: list[dict[str, Any]] = [{"text": text} for text in texts]
    for task, labels in run.labels.items():
        scores, best = run.model.logits(task, pooled).float().softmax(dim=1).max(dim=1)
        for answer, score, index in zip(answers, scores.tolist(), best.tolist(), strict=True):
            answer[task] = {"label": labels[index], "score": score}
    return answers
