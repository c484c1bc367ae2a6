"""A run's task as a graph of ONNX, with what makes its inputs and what names its outputs beside it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from freezeplan.data.images import MODES
from freezeplan.data.modality import IMAGE
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import first_line, quoted
from freezeplan.export.form import IN_PYTHON, ExportForm
from freezeplan.export.inputs import ProofInputs
from freezeplan.export.proof import Side, batch_of, refused, without_padding
from freezeplan.export.stock import images_side, set_padding, texts_side
from freezeplan.export.usage import graph_code
from freezeplan.models.native import stock_config
from freezeplan.train.saved_run import SavedRun

GRAPH = "model.onnx"
NEEDED = ("onnx", "onnxscript", "onnxruntime")
FEW = 4
"""Inputs of the proof that a graph is traced with."""
CHARACTERS = 16
"""More than a token has in most texts."""
LONGEST = 1024
"""Tokens of the longest text that a graph is tried on, where the model reads more."""


class Onnx(ExportForm):
    """A task as a graph that ONNX Runtime runs."""

    name = "onnx"
    tags = ("onnx",)
    without_language = (
        "a graph is one pass, and a language model writes a text in many, each on the one before"
    )

    def check(self, run: SavedRun, task: str) -> None:
        """Refuse where a package that writes or runs graphs is not installed (FP575)."""
        lacking = [name for name in NEEDED if find_spec(name) is None]
        if lacking:
            message = f"writing a graph of ONNX, and proving it, needs {quoted(lacking)}"
            advice = 'pip install "freezeplan[onnx]"'
            raise DiagnosticError([diagnostic("FP575", message, help=advice)])

    def write(self, run: SavedRun, task: str, folder: Path, inputs: ProofInputs) -> str:
        """Write the graph, the tokenizer or image processor, and a config with the labels."""
        from freezeplan.export.graph import TaskGraph, write_graph

        config = stock_config(run.model.backbone.config, run.labels[task], run.kinds[task].problem_type)
        set_padding(run, config)
        batch = batch_of(run, inputs.values[:FEW])
        write_graph(TaskGraph(run, task, list(batch)), batch, folder / GRAPH)
        run.encoder.save(folder)
        _without_classes(config).save_pretrained(folder)
        return f"a graph of {quoted(batch)}"

    def code(self, run: SavedRun, task: str) -> str:
        """Return code that runs the graph, and reads its answers."""
        mode = MODES[run.encoder.channels] if run.encoder.kind is IMAGE else ""
        return graph_code(run.kinds[task], run.encoder.kind.name, mode)

    def proved_on(self, run: SavedRun, inputs: ProofInputs) -> ProofInputs:
        """Return the task's own inputs, and of texts one as long as the model reads: a tracer may keep to lengths."""
        if run.encoder.kind is IMAGE:
            return inputs
        longest = max(inputs.values, key=lambda value: len("".join(value)))
        return replace(
            inputs, values=[*inputs.values, _repeated(longest, min(run.encoder.max_length, LONGEST))]
        )

    def ours(self, run: SavedRun, task: str) -> Side:
        """Return the logits of the task, or the vectors that its answers follow from."""
        if not run.kinds[task].from_vectors:
            return super().ours(run, task)
        return lambda values: run.model.vectors(**batch_of(run, values))

    def theirs(self, folder: Path, run: SavedRun, task: str) -> Side:
        """Return the outputs of ONNX Runtime, on the CPU."""
        session = _session(folder / GRAPH)
        encode = _encoding(folder, run, run.kinds[task].compares)
        names = [found.name for found in session.get_inputs()]

        def side(values: Sequence[Any]) -> torch.Tensor:
            batch = encode(values)
            (found,) = _ran(session, {name: batch[name].numpy() for name in names})
            return without_padding(torch.from_numpy(found), batch)

        return side

    def apart(self, run: SavedRun, task: str, loads_as: str) -> tuple[str, str]:
        """Return that a graph computes in float32, where the run does not."""
        dtype = run.spec.model.dtype or "float32"
        if dtype != "float32":
            return f"the graph computes in float32, and the run in {dtype}", IN_PYTHON
        return "the graph does not give the run's outputs in ONNX Runtime", IN_PYTHON


def _encoding(folder: Path, run: SavedRun, compares: bool) -> Callable[[Sequence[Any]], Any]:
    if run.encoder.kind is IMAGE:
        return images_side(folder, run.encoder.channels)
    encode = texts_side(folder)
    if not compares:
        return encode
    return lambda values: encode([text for side in zip(*values, strict=True) for text in side])


def _without_classes(config: Any) -> Any:
    """Return a config that names no class of transformers: its weights are not there to be loaded."""
    found = copy.deepcopy(config)
    found.architectures = None
    return found


def _repeated(value: Any, tokens: int) -> Any:
    """Return a text, each of some texts, or a list of words, over and over, so that it has at least so many tokens."""
    if isinstance(value, tuple):
        return tuple(_repeated(text, tokens) for text in value)
    if isinstance(value, list):
        return value * -(-tokens // len(value))
    return " ".join([value] * -(-tokens * CHARACTERS // len(value)))


def _ran(session: Any, batch: dict[str, Any]) -> Any:
    try:
        return session.run(None, batch)
    except Exception as error:  # onnxruntime raises types of its own, one for each status
        shape = " x ".join(str(size) for size in next(iter(batch.values())).shape)
        reason = f"ONNX Runtime does not run the graph on a batch of {shape}: {first_line(error)}"
        raise refused(reason, IN_PYTHON) from None


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises types of its own, one for each status
        reason = f"ONNX Runtime does not load the graph: {first_line(error)}"
        raise refused(reason, IN_PYTHON) from None
    _check_open(session)
    return session


def _check_open(session: Any) -> None:
    """Refuse a graph that torch has fixed to the sizes that it was traced with: it mends what it cannot leave open."""
    for found in session.get_inputs():
        sizes = found.shape[:1] if len(found.shape) > 2 else found.shape
        if not all(isinstance(size, str) for size in sizes):
            reason = f"torch makes a graph that takes `{found.name}` of {' x '.join(map(str, sizes))} alone"
            raise refused(reason, IN_PYTHON)
