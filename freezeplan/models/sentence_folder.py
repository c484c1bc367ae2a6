"""Reads what a folder of sentence-transformers says beside its transformer: pooling, length, further modules."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from freezeplan.models.config_file import ADVICE, CONFIG_FILE, read_json
from freezeplan.spec.keys import SOURCE
from freezeplan.spec.locations import error_at_key

MODULES = "modules.json"
# As sentence-transformers looks for them: the file is named after the first architectures that it knew.
SETTINGS = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
OWN_SETTINGS = "config_sentence_transformers.json"
IN_A_SPEC = {"mean": "mean", "cls": "cls", "max": "max", "lasttoken": "last"}
# How the pooling was written before `pooling_mode`: one key for each, in the order of their concatenation.
SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
MOST_TOKENS = 1 << 31


@dataclass(frozen=True)
class SentenceFolder:
    """Say what a folder's sentence encoder does around its transformer.

    ``transformer`` is the transformer's folder in it (``""`` for the folder itself). ``modes`` are the names of its
    pooling in sentence-transformers (none where it has no pooling, or where the file that says it is not there:
    ``without``), ``max_length`` the most tokens that it reads of a text. ``others`` are its further modules, as
    class name and folder. ``lower_case`` tells that it lowers a text's case itself, ``prompt`` which one it puts in
    front of each.
    """

    transformer: str = ""
    modes: tuple[str, ...] = ()
    without: str | None = None
    max_length: int | None = None
    others: tuple[tuple[str, str], ...] = ()
    lower_case: bool = False
    prompt: str | None = None

    @property
    def pooling(self) -> str | None:
        """The pooling in the words of a spec; None where there is none, or none of ours."""
        return IN_A_SPEC.get(self.modes[0]) if len(self.modes) == 1 else None


def read_sentence_folder(folder: Path, label: str) -> SentenceFolder | None:
    """Return what a folder says of its sentence encoder, None for a folder without one.

    Raises ``DiagnosticError`` (FP152) for files that are not what sentence-transformers writes.
    """
    if not os.path.lexists(folder / MODULES):
        return None
    modules = list(_modules(read_json(folder / MODULES, f"{label}/{MODULES}", SOURCE), label))
    first = modules[0][1] if modules else ""
    transformer = first if os.path.isfile(folder / first / CONFIG_FILE) else ""
    settings = _settings(folder / transformer, label)
    own = _table(folder, OWN_SETTINGS, label) or {}
    poolings = [path for name, path in modules if name == "Pooling"]
    modes, without = _modes(folder, poolings, label)
    return SentenceFolder(
        transformer,
        modes,
        without,
        _length(settings, label),
        tuple(item for item in modules[1:] if item[0] != "Pooling"),
        settings.get("do_lower_case") is True,
        _prompt(own),
    )


def _modules(found: Any, label: str) -> Iterator[tuple[str, str]]:
    """Yield the class name and the folder of each module."""
    for item in found if isinstance(found, list) else [found]:
        kind, path = (item.get("type"), item.get("path")) if isinstance(item, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(path, str) or not _is_inside(path):
            reason = "is not a list of modules, each with a `type` and the `path` of a folder inside this one"
            raise _unreadable(f"{label}/{MODULES}", reason)
        yield kind.rpartition(".")[2], path.strip("/")


def _is_inside(path: str) -> bool:
    return (
        "\\" not in path
        and "\0" not in path
        and not path.startswith("/")
        and ".." not in PurePosixPath(path).parts
    )


def _settings(folder: Path, label: str) -> Mapping[str, Any]:
    found = (_table(folder, name, label) for name in SETTINGS)
    return next((table for table in found if table is not None), {})


def _table(folder: Path, name: str, label: str) -> Mapping[str, Any] | None:
    """Return the table in a file, None where there is no such file."""
    if not os.path.lexists(folder / name):
        return None
    found = read_json(folder / name, f"{label}/{name}", SOURCE)
    if not isinstance(found, dict):
        raise _unreadable(f"{label}/{name}", "is not a table of settings")
    return found


def _length(settings: Mapping[str, Any], label: str) -> int | None:
    length = settings.get("max_seq_length")
    if length is None or (type(length) is int and 0 < length < MOST_TOKENS):
        return length
    raise _unreadable(label, f"says `max_seq_length = {str(length)[:20]}`, which is no number of tokens")


def _modes(folder: Path, poolings: list[str], label: str) -> tuple[tuple[str, ...], str | None]:
    """Return the modes of the poolings together, and the file that should say them where it is missing."""
    modes: list[str] = []
    for path in poolings:
        table = _table(folder / path, CONFIG_FILE, f"{label}/{path}")
        if table is None:
            return (), f"{path}/{CONFIG_FILE}"
        modes += _modes_in(table, f"{label}/{path}/{CONFIG_FILE}")
    return tuple(modes), None


def _modes_in(table: Mapping[str, Any], label: str) -> list[str]:
    mode = table.get("pooling_mode")
    found = [mode] if isinstance(mode, str) else mode
    if found is None:
        found = [name for key, name in SWITCHES.items() if table.get(key) is True] or ["mean"]
    if not isinstance(found, list) or not found or not all(isinstance(name, str) for name in found):
        raise _unreadable(label, "does not say in `pooling_mode` how it pools")
    return found


def _prompt(own: Mapping[str, Any]) -> str | None:
    name, prompts = own.get("default_prompt_name"), own.get("prompts")
    text = prompts.get(name) if isinstance(prompts, dict) and isinstance(name, str) else None
    return text if isinstance(text, str) and text else None


def _unreadable(name: str, reason: str) -> Exception:
    return error_at_key(SOURCE, "FP152", f"`{name}` {reason}", help=ADVICE)
