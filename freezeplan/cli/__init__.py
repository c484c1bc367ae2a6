"""The ``freezeplan`` command: the only room that exits or opens standard streams."""

from freezeplan.cli.program import main

__all__ = ["main"]
