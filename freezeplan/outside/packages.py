"""Finds model folders that ship inside installed Python packages, without importing them."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

PREFIX = "package:"
# What stands before the name of a model that timm builds.
TIMM = "timm:"
NAME = re.compile(r"[A-Za-z_]\w*")


class PackageProblem(Exception):
    """Say in plain words why a package source cannot be used, and what to do."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


def package_folder(source: str) -> Path:
    """Return the folder that ``package:NAME/SUBDIR`` names.

    The package is located, not imported. Raises :class:`PackageProblem` when the package is not installed,
    has no such folder, or the path leaves the package.
    """
    name, _, inside = source.removeprefix(PREFIX).partition("/")
    if not NAME.fullmatch(name):
        raise PackageProblem(f"`{name}` cannot be the name of a package", "write `package:NAME/SUBDIR`")
    root = _root(name)
    parts = PurePosixPath(inside).parts
    target = root.joinpath(*parts)
    if ".." in parts or PurePosixPath(inside).is_absolute() or not _inside(target, root):
        raise PackageProblem(f"`{inside}` leaves the package `{name}`", "name a folder inside the package")
    if not target.exists():
        folders = sorted(path.name for path in root.iterdir() if path.is_dir() and path.name != "__pycache__")
        listed = ", ".join(f"`{folder}`" for folder in folders) or "no folders"
        raise PackageProblem(f"the package `{name}` has no folder `{inside}`", f"it holds {listed}")
    return target


def _root(name: str) -> Path:
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        spec = None
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise PackageProblem(f"the package `{name}` is not installed", f"install it: `pip install {name}`")
    return Path(places[0])


def _inside(target: Path, root: Path) -> bool:
    return target.resolve().is_relative_to(root.resolve())
