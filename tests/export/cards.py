"""Reads cards of exports back for the tests, and runs the code in them where they stand."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def front_of(folder: Path) -> dict[str, Any]:
    """Return what the hub reads at the top of a folder's card."""
    _, front, _ = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    return yaml.safe_load(front)


def printed_by(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the code of a folder's card inside of the folder; return what it prints."""
    (code,) = BLOCK.findall((folder / "README.md").read_text("utf-8"))
    out = io.StringIO()
    with monkeypatch.context() as patch, contextlib.redirect_stdout(out):
        patch.chdir(folder)
        exec(compile(code, str(folder / "README.md"), "exec"), {})
    return out.getvalue()
