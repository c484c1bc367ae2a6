"""Changes a run's files the way somebody would who also knows to write down the new hashes, and the way others do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from freezeplan.models.sealed import file_sha256, write_sealed


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a JSON record, and nothing else."""
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def reseal(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a record that holds its own hash, and the hash too."""
    record = json.loads(path.read_text())
    change(record)
    write_sealed(path, record)


def accept(folder: Path, name: str) -> None:
    """Write into ``run.json`` the hash that a file has now."""

    def change(run: dict[str, Any]) -> None:
        for table in (run["files"], run["weights"]):
            if name in table:
                table[name] = file_sha256(folder / name)

    reseal(folder / "run.json", change)


def tensors_file(folder: Path, kind: str = "trained") -> Path:
    """Return the first of a run's files of tensors of a kind."""
    return next(folder / name for name in _files(folder) if name.startswith(f"weights/{kind}"))


def _files(folder: Path) -> list[str]:
    return sorted(json.loads((folder / "run.json").read_text())["files"])


def change_tensors(folder: Path, tensor: str, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change the file that holds a tensor, and its hash in ``run.json``."""
    for name in _files(folder):
        tensors = load_file(folder / name) if name.startswith("weights/") else {}
        if tensor in tensors:
            change(tensors)
            save_file(tensors, folder / name, metadata={"format": "pt"})
            accept(folder, name)


def flip_a_bit(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
