"""What a form of an export says of itself: one class per library, each in a file of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from freezeplan.export.inputs import ProofInputs
from freezeplan.export.proof import Side, logits_of
from freezeplan.export.usage import SIMILARITY, TAGS
from freezeplan.train.saved_run import SavedRun

IN_PYTHON = "use `freezeplan.load_run` in its place"


def stock_name(run: SavedRun, task: str) -> str | None:
    """Return the automatic class of transformers for a task of a run, None where there is none."""
    return run.kinds[task].stock.get(run.encoder.kind.name)


class ExportForm(ABC):
    """Write one task of a run for another library, and run what that library loads."""

    name: ClassVar[str]
    """What ``--to`` calls it."""
    library: ClassVar[str | None] = None
    """What the hub calls the library that loads it."""
    tags: ClassVar[tuple[str, ...]] = ()
    """What else the hub may list it by."""
    holds_head: ClassVar[bool] = True
    """Whether it holds the head of one task; without, a task says only on which inputs it is proved."""
    cuts: ClassVar[bool] = False
    """Whether what the library loads cuts long texts without being asked."""
    without_language: ClassVar[str] = ""
    """Why it has no form of tasks that stand on the model's own head; empty where it has one."""

    def check(self, run: SavedRun, task: str) -> None:
        """Refuse what cannot be, before anything is written; raises ``DiagnosticError``."""
        return

    @abstractmethod
    def write(self, run: SavedRun, task: str, folder: Path, inputs: ProofInputs) -> str:
        """Write the task into a folder; returns the name of what the library loads from it.

        ``inputs`` are those that both sides will run on.

        Raises ``DiagnosticError`` (FP570) for what the library has no form of.
        """

    def proved_on(self, run: SavedRun, inputs: ProofInputs) -> ProofInputs:
        """Return what both sides run on: the task's own inputs, and what else the form has to be tried with."""
        return inputs

    def ours(self, run: SavedRun, task: str) -> Side:
        """Return the run's own side of the proof: the logits of the task."""
        return logits_of(run, task)

    @abstractmethod
    def theirs(self, folder: Path, run: SavedRun, task: str) -> Side:
        """Return the other side: what the library loads from the folder."""

    def tag(self, run: SavedRun, task: str) -> str | None:
        """Return what the hub calls what it does, None where it has no name for that."""
        return SIMILARITY if run.kinds[task].compares else TAGS.get(stock_name(run, task) or "")

    @abstractmethod
    def code(self, run: SavedRun, task: str) -> str:
        """Return code that uses the folder from inside of it, for its card."""

    def apart(self, run: SavedRun, task: str, loads_as: str) -> tuple[str, str]:
        """Return why both sides may come apart, and what to do in its place."""
        return f"`{loads_as}` does not give the run's answers", IN_PYTHON
