"""The tensors of a run, from files named by their content: read only when every hash is the recorded one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from freezeplan.diagnostics.wording import first_line
from freezeplan.inventory.header import read_header
from freezeplan.models.run_record import file_of, read_run
from freezeplan.models.sealed import Altered, fault_of


def read_weights(folder: Path, files: Mapping[str, str]) -> dict[str, Any]:
    """Return the tensors of some of a run's files, by name; see :func:`each_weight`."""
    return dict(each_weight(folder, files))


def each_weight(folder: Path, files: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """Yield the names and tensors of some of a run's files, one at a time; ``files`` maps them to their sha256.

    Raises :class:`freezeplan.models.sealed.Altered` for a file that is not the one that was written.
    """
    from safetensors import SafetensorError, safe_open

    for name, digest in files.items():
        path = file_of(folder, name)
        reason = fault_of(path, name, digest)
        if reason is not None:
            raise Altered(reason)
        try:
            with safe_open(path, "pt") as file:
                for tensor in file.keys():  # noqa: SIM118
                    yield tensor, file.get_tensor(tensor)
        except (OSError, SafetensorError) as error:
            raise Altered(f"`{name}` is not a readable .safetensors file: {first_line(error)}") from None


def weight_names(folder: Path, files: Mapping[str, str]) -> frozenset[str] | None:
    """Return the names of the tensors in some of a run's files, None when that cannot be told."""
    try:
        return frozenset(name for file in files for name in read_header(file_of(folder, file), file))
    except Exception:  # noqa: BLE001 - whatever is wrong with a file, loading it reports
        return None


def weights_of_run(folder: Path, checkpoint: str | None = None) -> dict[str, Any]:
    """Return the tensors of the run in a folder, or of one of its checkpoints, by name.

    Raises ``ValueError`` with a plain sentence where there is no run, or a file is not the one that was written.
    """
    run = read_run(folder, checkpoint)
    if run is None:
        raise ValueError(f"`{folder}` is not the folder of a run")
    return read_weights(folder, run.weights)
