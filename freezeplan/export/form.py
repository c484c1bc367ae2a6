"""What a form of an export says of itself: one class per library, each in a file of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from freezeplan.export.inputs import ProofInputs
from freezeplan.export.proof import Side, logits_of
from freezeplan.train.saved_run import SavedRun

IN_PYTHON = "use `freezeplan.load_run` in its place"


class ExportForm(ABC):
    """Write one task of a run for another library, and run what that library loads."""

    name: ClassVar[str]
    """What ``--to`` calls it."""

    def check(self, run: SavedRun, task: str) -> None:
        """Refuse what cannot be, before anything is written; raises ``DiagnosticError``."""
        return

    @abstractmethod
    def write(self, run: SavedRun, task: str, folder: Path, inputs: ProofInputs) -> str:
        """Write the task into a folder; returns the name of what the library loads from it.

        ``inputs`` are those that both sides will run on.

        Raises ``DiagnosticError`` (FP570) for what the library has no form of.
        """

    def ours(self, run: SavedRun, task: str) -> Side:
        """Return the run's own side of the proof: the logits of the task."""
        return logits_of(run, task)

    @abstractmethod
    def theirs(self, folder: Path, run: SavedRun, task: str) -> Side:
        """Return the other side: what the library loads from the folder."""

    def apart(self, run: SavedRun, task: str, loads_as: str) -> tuple[str, str]:
        """Return why both sides may come apart, and what to do in its place."""
        return f"`{loads_as}` does not give the run's answers", IN_PYTHON
