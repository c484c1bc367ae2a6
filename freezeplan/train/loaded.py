"""A finished run at work in Python: its answers, its vectors, its model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import torch

from freezeplan.models.run_record import run_path
from freezeplan.train.predict import Asked, answers, ready, vectors
from freezeplan.train.saved_run import SavedRun, checkpoint_folder


class LoadedRun:
    """Hold a run that was loaded: ``model`` in eval mode, on the accelerator where there is one.

    ``labels`` maps each task to its labels, in the order of its head's outputs.
    """

    def __init__(self, saved: SavedRun, device: torch.device) -> None:
        self._saved = saved
        self._device = device
        self.model = saved.model
        self.labels: Mapping[str, tuple[str, ...]] = saved.labels

    def predict(
        self,
        inputs: Iterable[Any],
        tasks: Sequence[str] | None = None,
        *,
        probabilities: bool = False,
        max_new_tokens: int | None = None,
    ) -> list[dict[str, Any]]:
        """Label texts (or images, as ``freezeplan predict`` takes them) with some tasks, all by default.

        Tasks over pairs of texts take tuples of two; they and tasks over single texts are asked one after the other.

        A language model goes on where an input ends: a text, a prompt, or a list of messages. ``max_new_tokens`` is how
        far at most, 64 tokens by default.

        Returns one dict per input, in their order: ``{"text": …, "<task>": {"label": …, "score": …}, …}``, with
        ``probabilities`` also each label's, and of a language model ``{"completion": …}``. Raises
        ``DiagnosticError``: FP530 for an input that cannot be used, FP574 for a task that the run has not, FP531 where
        the outputs are no numbers.
        """
        _check_several(inputs)
        return list(answers(self._saved, self._device, inputs, Asked(tasks, probabilities, max_new_tokens)))

    def embed(self, inputs: Iterable[Any]) -> numpy.ndarray:
        """Return the backbone's pooled vectors of texts (or images), ``(inputs, hidden)`` in float32, in their order.

        They are what the run's linear heads read. Raises ``DiagnosticError`` as :meth:`predict` does.
        """
        _check_several(inputs)
        found = [vector.numpy() for vector in vectors(self._saved, self._device, inputs)]
        return numpy.stack(found) if found else numpy.zeros((0, self.model.hidden), dtype=numpy.float32)


def _check_several(inputs: Any) -> None:
    if isinstance(inputs, (str, bytes)):
        raise TypeError("inputs are a list of texts, not one text")


def loaded_run(folder: str | Path, checkpoint: str | None = None) -> LoadedRun:
    """Load a run, or one of its checkpoints by name (``best`` for the one that ``train.keep_best`` kept)."""
    place = run_path(folder)
    return LoadedRun(*ready(place if checkpoint is None else checkpoint_folder(place, checkpoint)))
