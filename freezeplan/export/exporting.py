"""Writes a run in the form of another library, and calls it done when that library gives the run's answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from freezeplan.apply.resting import wake
from freezeplan.data.encoder import Encoder
from freezeplan.data.modality import KINDS, TEXT
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import counted, quoted
from freezeplan.export.card import card_of
from freezeplan.export.form import ExportForm
from freezeplan.export.forms import FORMS
from freezeplan.export.front_matter import Shipped
from freezeplan.export.inputs import ProofInputs, inputs_of
from freezeplan.export.places import check_free, new_folder
from freezeplan.export.proof import ROWS, TOLERANCE, Side, encoded_of, largest_difference, refused
from freezeplan.models.run_record import home_of
from freezeplan.render.markdown import code
from freezeplan.render.model_card import card_text
from freezeplan.train.encoding import TextEncoder
from freezeplan.train.language import language_encoder
from freezeplan.train.saved_run import SavedRun, check_papers, check_task, checkpoint_folder, load_run

CARD = "README.md"


@dataclass(frozen=True)
class Exported:
    """Say what was written: its form, the class that loads it, and how far it is from the run.

    ``difference`` is the largest between both sides' outputs on ``rows`` inputs of ``source``; ``cut`` of them are
    longer than the model reads.
    """

    folder: Path
    form: str
    loads_as: str
    task: str | None
    difference: float
    rows: int
    source: str
    cut: int = 0

    @property
    def proof(self) -> str:
        """What was proved, for the folder's card."""
        both = "The run and what was loaded from this folder were both run"
        rows = f"on {counted(self.rows, 'input')} of {code(self.source)}"
        return f"{both} {rows}: their outputs differ by at most {self.difference:.1e}."

    @property
    def statement(self) -> str:
        """One line that says all of it."""
        what = f"task {self.task} of the run" if self.task else "the run's backbone"
        proof = f"largest difference to the run on {counted(self.rows, 'input')} of {self.source}"
        return f"{self.folder} is {what} as {self.loads_as}; {proof}: {self.difference:.1e}"


def export(
    folder: Path,
    form: str,
    out: Path,
    task: str | None = None,
    checkpoint: str | None = None,
    data: Path | None = None,
    column: str | None = None,
) -> Exported:
    """Write a run, or one of its checkpoints, in the form of another library into a new folder.

    ``form`` is a key of ``FORMS``: ``transformers`` writes one ``task`` (which may be left out where there is one) as
    a stock model, ``onnx`` as a graph, each with its tokenizer or image processor; ``sentence-transformers`` writes the
    backbone with its pooling, whatever the tasks. Both sides, the run and what the
    other library loads from the folder, are run on inputs of the task's own data (of the file ``data`` where that is
    named, and its ``column``) before the folder gets its name. Raises ``DiagnosticError``: FP570 where the other
    library cannot give the run's answers, FP571 for a place that is taken, FP573 where no inputs are here, FP575
    where the other library is not installed, and what loading a run raises. Then nothing is left behind.
    """
    home, _ = home_of(folder)
    check_free(out, home)
    run = load_run(folder if checkpoint is None else checkpoint_folder(folder, checkpoint))
    check_papers(run)
    # What is written are weights in float32; in which precision they are used is for whoever loads them.
    run.model.precision = "float32"
    wake(run.model)
    written = FORMS[form]
    name = _task(run, task) if written.holds_head or task else _first(run)
    run = replace(run, encoder=_encoder(run, name, written))
    written.check(run, name)
    inputs = inputs_of(run, name, data, column)
    with new_folder(out, home) as place:
        loads_as = written.write(run, name, place, inputs)
        sides = written.ours(run, name), written.theirs(place, run, name)
        tried = written.proved_on(run, inputs)
        difference = _proved(*sides, tried, written.apart(run, name, loads_as), _at_once(run, name))
        rows, cut = len(inputs.values), 0 if written.cuts else _cut(run, inputs)
        held = name if written.holds_head else None
        found = Exported(out, form, loads_as, held, difference, rows, inputs.source, cut)
        _write_card(run, name, written, found, place)
    return found


def _encoder(run: SavedRun, task: str, form: ExportForm) -> Encoder:
    """Return what makes a task's rows of its data, as it learned them."""
    if not run.kinds[task].own_head or not isinstance(run.encoder, TextEncoder):
        return run.encoder_for([task])
    if form.without_language:
        raise refused(form.without_language, "export it to transformers")
    return language_encoder(run.encoder, KINDS[run.reads.get(task, TEXT.name)])


def _write_card(run: SavedRun, task: str, form: ExportForm, found: Exported, place: Path) -> None:
    python, tag = form.code(run, task), form.tag(run, task)
    loads_as = code(found.loads_as) if found.loads_as.isidentifier() else found.loads_as
    loads_as += "" if form.holds_head else ", without a head"
    shipped = Shipped(loads_as, python, form.library, tag, form.tags, found.proof, form.holds_head)
    (place / CARD).write_text(card_text(card_of(run, task, shipped)), "utf-8")


def _task(run: SavedRun, task: str | None) -> str:
    names = list(run.labels)
    if task is not None:
        check_task(run, task)
        return task
    if len(names) == 1:
        return names[0]
    message = f"the run has {len(names)} tasks, and a stock model has one head"
    raise DiagnosticError([diagnostic("FP574", message, help=f"name one with `--task`: {quoted(names)}")])


def _first(run: SavedRun) -> str:
    """Return the task whose inputs are nearest to what vectors are for: one that they answer, else a single text's."""
    kinds = run.kinds
    return min(kinds, key=lambda name: (not kinds[name].from_vectors, kinds[name].compares))


def _at_once(run: SavedRun, task: str) -> int:
    """Return how many rows both sides run together: one where each token has a number for every other."""
    return 1 if run.kinds[task].own_head else ROWS


def _proved(ours: Side, theirs: Side, inputs: ProofInputs, cause: tuple[str, str], rows: int) -> float:
    difference = largest_difference(ours, theirs, inputs.values, rows)
    if not difference <= TOLERANCE:
        reason, advice = cause
        note = f"on {counted(len(inputs.values), 'input')} of {inputs.source}; {TOLERANCE:.0e} is allowed"
        raise refused(f"{reason}: outputs differ by up to {difference:.1e}", advice, note)
    return difference


def _cut(run: SavedRun, inputs: ProofInputs) -> int:
    return int(getattr(encoded_of(run, inputs.values), "cut", 0) or 0)
