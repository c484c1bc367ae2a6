"""Everything an inventory depends on, as one short key: the model, the spec's part in it, and the code."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from freezeplan.inventory.document import SCHEMA
from freezeplan.models.remote_code import trusts
from freezeplan.models.resolve import WEIGHTS, Source
from freezeplan.outside.regular import open_regular, read_regular
from freezeplan.spec.tables import Spec

INFO = (".dist-info", ".egg-info")
NEEDED = ("torch", "transformers")
MAX_HEADER = 100_000_000
MAKERS = ("outside", "inventory", "models")


def inventory_key(source: Source, spec: Spec, labels: Mapping[str, tuple[str, ...]]) -> str | None:
    """Return the key of a spec's inventory; None when something it depends on is out of sight.

    It covers the config, the source's kind, name and origin, the names in its checkpoint, the ``[model]`` and
    ``[[task]]`` tables with the labels, code that the model ships, every installed distribution with its
    version (read from the names of their folders: nothing is imported), and the sources of this package.
    """
    code = code_of(source, spec)
    installed = installed_code()
    if code is None or installed is None:
        return None
    parts = {
        "schema": [SCHEMA, *sys.version_info[:3]],
        "installed": installed,
        "sources": own_sources(),
        "code": code,
        "source": [source.kind, source.label, source.origin, source.present, source.notes],
        "run": source.run.as_record() if source.run else None,
        "config": source.config,
        "checkpoint": checkpoint_digest(source.files) if source.files else None,
        "model": spec.model.model_dump(mode="json"),
        "task": [task.model_dump(mode="json") for task in spec.task],
        "labels": labels,
    }
    try:
        return _digest(json.dumps(parts, sort_keys=True).encode())
    except (
        TypeError,
        ValueError,
        RecursionError,
    ):  # a config given in Python may hold what JSON has no word for
        return None


def _digest(*parts: bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()


def checkpoint_digest(folder: Path) -> list[str | None]:
    """Return digests of what names the tensors of a folder's checkpoint: its index, or its file's header."""
    file, index = WEIGHTS
    return [_file_digest(folder / index), _header_digest(folder / file)]


def _file_digest(path: Path) -> str | None:
    try:
        return _digest(read_regular(path))
    except OSError:
        return None


def _header_digest(path: Path) -> str | None:
    """Digest the header of a .safetensors file: eight bytes of length, then that much JSON.

    The file's size and its time stand for the values, which tell whether two tensors are tied.
    """
    try:
        with open_regular(path) as file:
            length = int.from_bytes(file.read(8), "little")
            header = file.read(min(length, MAX_HEADER))
            found = os.fstat(file.fileno())
            return _digest(length.to_bytes(8, "big"), header, f"{found.st_size} {found.st_mtime_ns}".encode())
    except OSError:
        return None


def code_of(source: Source, spec: Spec) -> str | None:
    """Return a digest of the Python code that a model ships, ``""`` when none of it is run.

    None when that code is somewhere else: in another repository, or not yet on this machine.
    """
    mapped = (source.config or {}).get("auto_map")
    if not trusts(spec) or not mapped:
        return ""
    if source.folder is None or "--" in json.dumps(mapped, default=str):
        return None
    return _tree_digest(source.folder)


def _tree_digest(folder: Path) -> str:
    files = sorted(folder.rglob("*.py"))
    return _digest(*(f"{path.relative_to(folder)} {_file_digest(path)}".encode() for path in files))


def own_sources() -> str:
    """Return a digest of this package's version and of the rooms whose code makes inventories."""
    from freezeplan import __version__

    root = Path(__file__).parents[1]
    return " ".join([__version__, *(_tree_digest(root / room) for room in MAKERS)])


def installed_code() -> list[str] | None:
    """Name every installed distribution with its version, as ``sys.path`` would find them.

    A checkout that was installed to be edited changes without its version, so the times of its files count
    too. None when torch or transformers are not among the distributions: then nothing tells their version.
    """
    found = [(folder, name) for folder in dict.fromkeys(sys.path) for name in _infos(Path(folder or "."))]
    names = [name for _, name in found]
    if not all(any(name.startswith(f"{needed}-") for name in names) for needed in NEEDED):
        return None
    return names + [stamp for folder, name in found for stamp in _stamps(folder, name)]


def _infos(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(INFO))
    except OSError:
        return []


def _stamps(folder: str, name: str) -> Iterator[str]:
    package = name.partition("-")[0]
    if package not in (*NEEDED, "timm") or not _is_editable(Path(folder, name)):
        return
    from importlib.util import find_spec

    spec = find_spec(package)
    for root in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(root).rglob("*.py")):
            yield f"{path} {path.stat().st_mtime_ns}"


def _is_editable(info: Path) -> bool:
    try:
        origin: Any = json.loads((info / "direct_url.json").read_text("utf-8"))
        return bool(origin.get("dir_info", {}).get("editable"))
    except (OSError, ValueError, AttributeError):
        return False
