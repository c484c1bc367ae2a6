"""Paths as callers give them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


class NoPath(ValueError):
    """Say in a few plain words why something is no path."""


def given_path(given: Any) -> Path:
    """Return what a caller gave as a path; raises :class:`NoPath` for what is none.

    An empty text is none: it would stand for the current folder.

    >>> given_path("runs/a").name
    'a'
    """
    if isinstance(given, str | os.PathLike) and isinstance(os.fspath(given), str):
        if not os.fspath(given):
            raise NoPath("the path is empty")
        return Path(given)
    raise NoPath(f"a path is a str or a Path, not a {type(given).__name__}")
