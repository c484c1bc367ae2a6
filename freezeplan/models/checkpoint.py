"""Which files hold a model's weights, and that each is one that may be opened: safetensors, never pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from freezeplan.diagnostics import DiagnosticError
from freezeplan.diagnostics.wording import first_line, quoted
from freezeplan.inventory.header import read_header
from freezeplan.outside import hub
from freezeplan.outside.regular import open_regular, read_regular

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack")
# Beside one of these, transformers loads the weights of an adapter, and of a model that it names.
ADAPTER = "adapter_config.json"
CONVERT = "convert it once with `save_pretrained`, which writes safetensors, or name another source"
MERGE = "merge it once into its model with PEFT's `merge_and_unload`, and save that with `save_pretrained`"


class WeightsProblem(Exception):
    """Say in plain words why weights are not opened, and what to do."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


def check_weights(folder: Path, label: str) -> None:
    """Raise :class:`WeightsProblem` unless a folder's weights are regular safetensors files of its own.

    That is ``model.safetensors``, else every file that ``model.safetensors.index.json`` names. A link counts as
    what it leads to, as in the hub's cache.
    """
    if os.path.lexists(folder / ADAPTER):
        raise WeightsProblem(f"`{label}` holds an adapter of PEFT, which belongs to another model", MERGE)
    if os.path.lexists(folder / SINGLE):
        names: Iterable[str] = (SINGLE,)
    elif os.path.lexists(folder / INDEX):
        names = shards(folder / INDEX, label)
    else:
        raise _none(folder, label)
    for name in names:
        _check_file(folder / name, label)


def fetch_weights(repo: str, revision: str | None) -> str:
    """Download a hub model's weights into the cache, all of them safetensors; return the commit they are of.

    Raises :class:`WeightsProblem` as :func:`check_weights` does, ``HubProblem`` when the hub gives no answer.
    """
    if _first(repo, revision, ADAPTER, needed=False):
        raise WeightsProblem(f"`{repo}` holds an adapter of PEFT, which belongs to another model", MERGE)
    found = _first(repo, revision, SINGLE, INDEX)
    if found is None:
        message = f"`{repo}` has no safetensors weights on the hub, and pickle files are not loaded"
        raise WeightsProblem(message, CONVERT)
    for name in shards(found, repo) if found.name == INDEX else ():
        if hub.fetched_file(repo, name, revision) is None:
            raise WeightsProblem(f"`{repo}` has no {name} on the hub", "name another revision")
    check_weights(found.parent, repo)
    return found.parent.name


def _first(repo: str, revision: str | None, *names: str, needed: bool = True) -> Path | None:
    """Return the first of some files that a hub model has; without a network those in the cache are known."""
    unknown = None
    for name in names:
        try:
            found = hub.fetched_file(repo, name, revision)
        except hub.HubProblem as problem:
            unknown = problem
        else:
            if found is not None:
                return found
    if unknown is not None and needed:
        raise unknown
    return None


def shards(index: Path, label: str) -> tuple[str, ...]:
    """Return the names of the files that an index of weights names, sorted.

    Raises :class:`WeightsProblem` unless each ends in ``.safetensors`` and is a plain name, without a folder.
    """
    weight_map = weight_map_of(index, label)
    names = sorted(set(weight_map.values()))
    strange = [name for name in names if not name.endswith(".safetensors") or not _is_plain(name)]
    if strange:
        what = f"{INDEX} of `{label}` names {quoted(strange[:3])}"
        raise WeightsProblem(f"{what}: weights are safetensors files beside it, and no others", CONVERT)
    return tuple(names)


def weight_map_of(index: Path, label: str) -> dict[str, str]:
    """Return which file holds each tensor, as an index says; raises :class:`WeightsProblem`."""
    try:
        found: Any = json.loads(read_regular(index).decode("utf-8"))
        weight_map = found["weight_map"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        reason = (
            "it has no table `weight_map`" if isinstance(error, (KeyError, TypeError)) else first_line(error)
        )
        raise WeightsProblem(
            f"{INDEX} of `{label}` cannot be read: {reason}", "fetch the file again"
        ) from None
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        message = f"{INDEX} of `{label}` cannot be read: `weight_map` is no table of file names"
        raise WeightsProblem(message, "fetch the file again")
    return weight_map


@contextmanager
def tensor_slice(place: Path, name: str) -> Iterator[Any]:
    """Open one tensor of a file, or of a folder's checkpoint, for reading parts of it, each a torch tensor.

    Raises :class:`WeightsProblem` where the folder's files may not be opened.
    """
    from safetensors import safe_open

    if os.path.isdir(place):
        check_weights(place, place.name)
        single = os.path.lexists(place / SINGLE)
        place = place / (SINGLE if single else weight_map_of(place / INDEX, place.name)[name])
    with safe_open(os.fspath(place), framework="pt") as opened:
        yield opened.get_slice(name)


def _is_plain(name: str) -> bool:
    return name == os.path.basename(name) and "\\" not in name and "\0" not in name


def _check_file(path: Path, label: str) -> None:
    try:
        open_regular(path).close()
    except FileNotFoundError:
        raise WeightsProblem(f"`{label}` has no {path.name}", "fetch the model again") from None
    except OSError as error:
        message = f"{path.name} of `{label}` cannot be read: {first_line(error)}"
        raise WeightsProblem(message, "check the file and its permissions") from None


def _none(folder: Path, label: str) -> WeightsProblem:
    pickled = [name for name in PICKLES if os.path.lexists(folder / name)]
    message = f"`{label}` has no model.safetensors"
    if pickled:
        message += f", only `{pickled[0]}`, and loading such a file can run any code it holds"
    return WeightsProblem(message, CONVERT)


def checkpoint_names(folder: Path) -> frozenset[str] | None:
    """Return the names of the tensors in a folder's safetensors checkpoint, None when that cannot be told."""
    try:
        if os.path.lexists(folder / SINGLE):
            return frozenset(read_header(folder / SINGLE, SINGLE))
        if os.path.lexists(folder / INDEX):
            return frozenset(weight_map_of(folder / INDEX, INDEX))
    except (DiagnosticError, WeightsProblem):  # loading reports it
        return None
    return None
