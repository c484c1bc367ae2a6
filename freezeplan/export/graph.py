"""One task of a run as a graph of ONNX: named tensors in, logits or vectors out."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from freezeplan.diagnostics.wording import first_line
from freezeplan.export.form import IN_PYTHON
from freezeplan.export.proof import refused
from freezeplan.export.stock import stock_model
from freezeplan.models.native import NativeHead
from freezeplan.outside.quiet import quiet
from freezeplan.train.saved_run import SavedRun

LOGITS = "logits"
VECTORS = "sentence_embedding"
"""What sentence-transformers calls the vector of a text in its own graphs."""
MOST_IN_ONE_FILE = 1 << 30
"""Bytes of tensors that are written into the graph's file; beyond, they lie beside it (a file holds up to 2 GiB)."""
NOISE = "torch.onnx"


class TaskGraph(nn.Module):
    """Compute one task of a run as a function of tensors in a fixed order: the inputs called ``names``.

    Where texts are compared it gives their vectors, or, of a trained comparison, the scores of a batch that holds all
    first texts and then all second ones.
    """

    def __init__(self, run: SavedRun, task: str, names: Sequence[str]) -> None:
        super().__init__()
        self.task, self.names = task, tuple(names)
        kind = run.kinds[task]
        self.texts, self.from_vectors = kind.texts, kind.from_vectors
        native = isinstance(run.model.heads[task], NativeHead)
        self.stock = stock_model(run, task) if native else None
        self.model = None if native else run.model

    @property
    def output(self) -> str:
        """What its output is called."""
        return VECTORS if self.from_vectors else LOGITS

    @property
    def together(self) -> int:
        """How many rows of its inputs make one of its outputs: all first texts stand before all second ones."""
        return 1 if self.from_vectors else self.texts

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        """Return the logits of the task, or the pooled vectors where it compares two."""
        inputs = dict(zip(self.names, values, strict=True))
        if self.stock is not None:
            return self.stock(**inputs).logits
        if self.from_vectors:
            return self.model.vectors(**inputs)
        return self.model.answer(self.task, **inputs)


def write_graph(graph: TaskGraph, batch: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write a graph whose batch, and whose length of texts, are left open, with an example of its inputs.

    Raises ``DiagnosticError`` (FP570) where torch cannot export the model, or onnxscript not translate it.
    """
    graph = _in_float32(graph).eval()
    values = tuple(_wide(batch[name], graph.together) for name in graph.names)
    size = sum(tensor.nbytes for tensor in graph.state_dict().values())
    try:
        with torch.no_grad(), _silent():
            program = torch.onnx.export(
                graph,
                values,
                input_names=list(graph.names),
                output_names=[graph.output],
                dynamic_shapes=(tuple(_open(value, graph.together) for value in values),),
                dynamo=True,
                verbose=False,
            )
            program.save(str(path), external_data=size > MOST_IN_ONE_FILE)
    except Exception as error:  # what torch's exporter raises has many unrelated types
        raise refused(f"torch makes no graph of the model: {_cause(error)}", IN_PYTHON) from None


def _in_float32(graph: TaskGraph) -> TaskGraph:
    """Return a graph's module in float32: a copy where it is not, since the run goes on as it is."""
    plain = all(tensor.dtype == torch.float32 for tensor in graph.parameters())
    return graph if plain else copy.deepcopy(graph).float()


def _open(value: torch.Tensor, together: int) -> dict[int, Any]:
    """Return which dimensions of an input are left open: the batch, in whole rows, and of texts also their length."""
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens")
    batch = together * batch if together > 1 else batch
    return {0: batch} if value.is_floating_point() else {0: batch, 1: tokens}


def _wide(value: torch.Tensor, together: int) -> torch.Tensor:
    """Return an input with at least two rows: one alone would be taken for the only number there can be."""
    return value if len(value) > together else value.repeat(2, *[1] * (value.dim() - 1))


def _cause(error: BaseException) -> str:
    """Return the plainest of an error and of those behind it: the last one's first line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep torch's exporter from writing about what it does."""
    logger = logging.getLogger(NOISE)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
