"""A run's backbone as a sentence encoder: a folder that sentence-transformers loads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from freezeplan.data.modality import IMAGE, TEXT
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import first_line
from freezeplan.export.form import IN_PYTHON, ExportForm
from freezeplan.export.inputs import ProofInputs
from freezeplan.export.proof import Side, batch_of, refused
from freezeplan.export.stock import set_padding
from freezeplan.export.usage import SIMILARITY
from freezeplan.models.sentence_folder import MODULES, OWN_SETTINGS, SETTINGS, SWITCHES
from freezeplan.outside.quiet import quiet
from freezeplan.train.saved_run import SavedRun

PACKAGE = "sentence_transformers"
POOLING = "1_Pooling"
# The names of its modules that every version knows.
KINDS = (("", f"{PACKAGE}.models.Transformer"), (POOLING, f"{PACKAGE}.models.Pooling"))
MODES = {
    "mean": "pooling_mode_mean_tokens",
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "last": "pooling_mode_lasttoken",
}
USE = """from sentence_transformers import SentenceTransformer

encoder = SentenceTransformer(".")
vectors = encoder.encode(["A text.", "Another one."])
print(encoder.similarity(vectors, vectors))
"""


class SentenceEncoder(ExportForm):
    """The backbone with its pooling, whatever the heads: what ``embed`` of a loaded run gives."""

    name = "sentence-transformers"
    library = "sentence-transformers"
    tags = ("sentence-transformers", "feature-extraction")
    holds_head = False
    cuts = True
    without_language = (
        "a sentence encoder gives vectors of texts, and a language model learned to tell the next token"
    )

    def check(self, run: SavedRun, task: str) -> None:
        """Refuse a run over images, a trained comparison (FP570), and where the package is not installed (FP575)."""
        if run.encoder.kind is IMAGE:
            raise refused("a sentence encoder reads texts, and the run reads images", IN_PYTHON)
        if run.kinds[task].compares and not run.kinds[task].from_vectors:
            reason = (
                f"sentence-transformers compares two vectors by their cosine, and the task `{task}` by a head"
            )
            raise refused(reason, run.kinds[task].other_form)
        if find_spec(PACKAGE) is None:
            message = "proving a folder of sentence-transformers needs `sentence-transformers`"
            advice = 'pip install "freezeplan[sentence]"'
            raise DiagnosticError([diagnostic("FP575", message, help=advice)])

    def write(self, run: SavedRun, task: str, folder: Path, inputs: ProofInputs) -> str:
        """Write the transformer, its tokenizer, and which modules read them in which order."""
        backbone = run.model.backbone
        set_padding(run, backbone.config)
        with quiet():
            backbone.save_pretrained(folder)
        run.encoder.save(folder)
        modules = [
            {"idx": place, "name": str(place), "path": path, "type": kind}
            for place, (path, kind) in enumerate(KINDS)
        ]
        length = {"max_seq_length": run.encoder.max_length, "do_lower_case": False}
        pooling = {"word_embedding_dimension": run.model.hidden} | dict.fromkeys(SWITCHES, False)
        _write(folder / MODULES, modules)
        _write(folder / SETTINGS[0], length)
        _write(folder / POOLING / "config.json", pooling | {MODES[run.model.pooling]: True})
        _write(folder / OWN_SETTINGS, {"similarity_fn_name": "cosine"})
        return "SentenceTransformer"

    def ours(self, run: SavedRun, task: str) -> Side:
        """Return the vectors that ``embed`` gives."""
        alone = replace(run, encoder=replace(run.encoder, kind=TEXT, apart=False))
        return lambda values: run.model.vectors(**batch_of(alone, texts_in(values)))

    def theirs(self, folder: Path, run: SavedRun, task: str) -> Side:
        """Return the vectors that sentence-transformers gives, on the CPU."""
        from sentence_transformers import SentenceTransformer

        try:
            with quiet():
                model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        except Exception as error:  # it raises errors of many unrelated types
            reason = f"sentence-transformers does not load what was written: {first_line(error)}"
            raise refused(reason, IN_PYTHON) from error
        return lambda values: model.encode(
            texts_in(values), convert_to_tensor=True, show_progress_bar=False, batch_size=len(values)
        )

    def tag(self, run: SavedRun, task: str) -> str:
        """Return that it compares texts, whatever the task."""
        return SIMILARITY

    def code(self, run: SavedRun, task: str) -> str:
        """Return code that embeds texts."""
        return USE

    def apart(self, run: SavedRun, task: str, loads_as: str) -> tuple[str, str]:
        """Return that the vectors are others, which is so where the library runs another part of the model."""
        kind = type(run.model.backbone).__name__
        return f"`{loads_as}` does not give the vectors of the run's `{kind}`", IN_PYTHON


def texts_in(values: Sequence[Any]) -> list[str]:
    """Return all texts of some rows, one by one: both of a pair, the words of a list with blanks between.

    >>> texts_in(["a", ("b", "c"), ["d", "e"]])
    ['a', 'b', 'c', 'd e']
    """
    found: list[str] = []
    for value in values:
        found += (
            value if isinstance(value, tuple) else [" ".join(value) if isinstance(value, list) else value]
        )
    return found


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
