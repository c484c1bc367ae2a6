"""Finds where a spec's model comes from: its config, its weights, its run, all without torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from freezeplan.diagnostics import DiagnosticError
from freezeplan.diagnostics.wording import closest, some
from freezeplan.models.checkpoint import INDEX, SINGLE
from freezeplan.models.config_file import CONFIG_FILE, read_config
from freezeplan.models.run_record import RunRecord, home_of, read_run
from freezeplan.models.sentence_folder import SentenceFolder, read_sentence_folder
from freezeplan.outside import hub
from freezeplan.outside.packages import PREFIX, TIMM, PackageProblem, package_folder
from freezeplan.outside.regular import special_file
from freezeplan.spec.keys import ARCHITECTURE, CONFIG, SOURCE
from freezeplan.spec.locations import KeyPath, error_at_key
from freezeplan.spec.tables import ModelTable, Spec

WEIGHTS = (SINGLE, INDEX)
DEFAULTS = "architecture defaults"
# Keys of `[model]` that say something of a model of transformers alone, and why timm's have no use for them.
NOT_FOR_TIMM = {
    "class": "the name already says which class timm builds",
    "revision": "its weights go by a tag in the name, as in `timm:resnet18.a1_in1k`",
}


@dataclass(frozen=True)
class Source:
    """Say where a model's structure and weights come from.

    ``kind`` is ``folder``, ``run`` (a finished run's folder), ``file`` (one .safetensors file), ``hub``, ``timm``
    or ``none`` (architecture alone). ``config`` is the model's config as a plain dict (timm's name of a model of
    its own), None when only a file's header is known; ``config_at`` is the key of the spec that it came from.
    ``present`` tells whether the weights' place is on this machine. ``origin`` says in words how the structure was
    found. ``snapshot`` is where the hub's cache keeps the files of a hub model. ``sentence`` is what a folder of
    sentence-transformers does around its transformer, whose own folder is then ``folder``.
    """

    kind: str
    label: str
    origin: str = ""
    config: Mapping[str, Any] | None = None
    config_at: KeyPath = SOURCE
    folder: Path | None = None
    file: Path | None = None
    repo: str | None = None
    run: RunRecord | None = None
    present: bool = True
    notes: tuple[str, ...] = ()
    snapshot: Path | None = None
    sentence: SentenceFolder | None = None

    @property
    def files(self) -> Path | None:
        """The folder on this machine that holds the source's files, as far as they are here."""
        return self.folder or self.snapshot

    @property
    def trained_labels(self) -> dict[str, tuple[str, ...]]:
        """The labels of each task of the run that this source is; none for other sources."""
        return self.run.labels if self.run else {}


def resolve_source(spec: Spec, directory: Path | None = None) -> Source:
    """Find the config and the weights that ``[model]`` names.

    ``directory`` is where relative paths start (default: the spec's folder, else the current one). The
    source's own config wins when it is on this machine; else ``architecture`` or ``[model.config]`` says what
    it is, and the network is not asked; with neither, a hub id is looked up on the hub.

    Raises ``DiagnosticError`` that says what is missing and what to do (FP150 to FP160, FP186).
    """
    with spec.locations.attached():
        source = _sourced(spec, directory or spec.locations.directory_of(SOURCE) or Path())
        return source if source.config is not None else _with_architecture(source, spec)


def _sourced(spec: Spec, start: Path) -> Source:
    table = spec.model
    if table.source is not None:
        return _of_timm(spec) if table.source.startswith(TIMM) else _named(table, start)
    if table.architecture is None and table.config is None:
        advice = (
            'write `source = "…"` (hub id, folder, package) or `architecture = "…"` (model type) in [model]'
        )
        raise error_at_key(("model",), "FP159", "the spec names no model", help=advice)
    return Source("none", table.architecture or str((table.config or {}).get("model_type", "[model.config]")))


def _of_timm(spec: Spec) -> Source:
    """Return the source that ``timm:NAME`` names; timm itself is not imported."""
    table = spec.model
    text = table.source or ""
    if spec.task:
        message = (
            f"`{text}` is a model of timm: tasks cannot be put on it, nor does the bundled trainer train it"
        )
        advice = "take `[[task]]` out and train in a loop of your own, or name an image model of transformers"
        raise error_at_key(SOURCE, "FP186", message, help=advice)
    for key, reason in NOT_FOR_TIMM.items():
        if getattr(table, "class_" if key == "class" else key) is not None:
            message = f"`{key}` is not for a model of timm: {reason}"
            raise error_at_key(("model", key), "FP186", message, help=f"remove `{key}`")
    unused = [key for key in ("architecture", "config") if getattr(table, key) is not None]
    notes = tuple(f"`{key}` is not used: timm knows what its model is" for key in unused)
    config = {"architecture": text.removeprefix(TIMM)}
    return Source("timm", text, origin="timm's architecture", config=config, notes=notes)


def _with_architecture(source: Source, spec: Spec) -> Source:
    """Take the config from ``architecture`` where the source has none of its own."""
    table = spec.model
    if table.config is not None:
        return replace(source, config=table.config, config_at=CONFIG, origin="[model.config]")
    if table.architecture is not None:
        return _from_architecture(source, table.architecture, spec.locations.directory_of(ARCHITECTURE))
    if source.kind == "hub":
        return _from_hub(source, spec)
    if source.kind == "file" and source.present:
        return replace(source, origin="file header")
    raise _no_config(source)


def _from_architecture(source: Source, text: str, start: Path | None) -> Source:
    path = _path(start or Path(), text)
    if not (text.endswith(".json") or "/" in text or "\\" in text or os.path.isdir(path)):
        return replace(source, config={"model_type": text}, config_at=ARCHITECTURE, origin=DEFAULTS)
    path = path / CONFIG_FILE if os.path.isdir(path) else path
    if not os.path.lexists(path):
        raise error_at_key(ARCHITECTURE, "FP150", f"`{text}` does not exist", help=_nearby(path))
    config = read_config(path, text, ARCHITECTURE)
    return replace(source, config=config, config_at=ARCHITECTURE, origin=f"config `{text}`")


def with_real_config(source: Source, spec: Spec) -> Source:
    """Return a source that is about to be loaded: a hub model with its own config, never the stand-in's.

    Asks the hub when the config is not in the local cache; raises FP156 when the hub gives none.
    """
    with spec.locations.attached():
        return source if source.kind != "hub" or source.present else _from_hub(source, spec)


def _from_hub(source: Source, spec: Spec) -> Source:
    assert source.repo is not None
    try:
        path = hub.fetched_config(source.repo, spec.model.revision)
    except hub.HubProblem as problem:
        raise _nowhere(source.repo, problem, spec.locations.directory_of(SOURCE) or Path()) from None
    config = read_config(path, source.repo, SOURCE)
    return replace(
        source,
        config=config,
        config_at=SOURCE,
        origin="config of the hub model",
        present=True,
        snapshot=path.parent,
    )


def _nowhere(name: str, problem: hub.HubProblem, start: Path) -> DiagnosticError:
    """Return the error for what is no folder and no hub model: a mistyped folder, where one is close to it."""
    path = _path(start, name)
    folders = [item for item in _names_in(path.parent) or () if os.path.isdir(path.parent / item)]
    close = closest(path.name, folders)
    if close or ("/" in name and os.path.isdir(path.parent)):
        message = f"there is no folder `{name}`, and as a name on the hub it gives nothing: {problem}"
        return error_at_key(SOURCE, "FP150", message, help=close or _nearby(path))
    message = f"`{name}` is not on this machine, and {problem}"
    notes = ["there is no folder of that name either; relative paths start at the spec's folder"]
    return error_at_key(SOURCE, "FP156", message, help=hub.ADVICE, notes=notes)


def _no_config(source: Source) -> DiagnosticError:
    if not source.present:
        path = source.folder or source.file or Path(source.label)
        if os.path.isfile(path):
            message = f"model source `{source.label}` is a file, neither a folder nor a `.safetensors` file"
            return error_at_key(SOURCE, "FP150", message, help="name the folder that holds the model")
        message = f"model source `{source.label}` does not exist"
        return error_at_key(SOURCE, "FP150", message, help=_nearby(path))
    weights = [name for name in WEIGHTS if source.folder and os.path.isfile(source.folder / name)]
    advice = f"add the model's {CONFIG_FILE}, or say what it is with `architecture`"
    if weights:
        advice += f"; for names and shapes alone, name the file: `{source.label.rstrip('/')}/{weights[0]}`"
    return error_at_key(SOURCE, "FP151", f"the folder `{source.label}` has no {CONFIG_FILE}", help=advice)


def _named(table: ModelTable, start: Path) -> Source:
    assert table.source is not None
    text = table.source
    if text.startswith(PREFIX):
        return _local(text, _package(text), table)
    path = _path(start, text)
    if _looks_local(text, path):
        return _local(text, path, table)
    if not text.strip():
        advice = "name a folder, a package or a model of the hub"
        raise error_at_key(SOURCE, "FP150", "`source` is blank", help=advice)
    if not hub.is_hub_id(text):
        message = f"`{text}` is no folder on this machine and cannot be a hub id"
        raise error_at_key(SOURCE, "FP150", message, help=_nearby(path))
    return _hub(text, table)


def _path(start: Path, text: str) -> Path:
    # os.path answers False where pathlib raises: names too long, null bytes, unknown users.
    return start / os.path.expanduser(text)


def _looks_local(text: str, path: Path) -> bool:
    if text.startswith(("/", "./", "../", "~")) or text in (".", "..") or text.endswith(".safetensors"):
        return True
    return bool(text) and os.path.exists(path)


def _package(text: str) -> Path:
    try:
        return package_folder(text)
    except PackageProblem as problem:
        raise error_at_key(SOURCE, "FP157", str(problem), help=problem.advice) from None


def _hub(text: str, table: ModelTable) -> Source:
    source = Source("hub", text, repo=text, present=False)
    path = hub.cached_config(text, table.revision)
    if path is None:
        return source
    config = read_config(path, text, SOURCE)
    notes = _unused_architecture(table)
    origin = "config in the local cache"
    return replace(source, config=config, origin=origin, present=True, notes=notes, snapshot=path.parent)


def _local(text: str, path: Path, table: ModelTable) -> Source:
    if path.suffix == ".safetensors":
        return Source("file", text, file=path, folder=path.parent, present=os.path.isfile(path))
    if os.path.isdir(path) and not os.access(path, os.X_OK):
        message = f"the folder `{text}` cannot be read: permission denied"
        raise error_at_key(SOURCE, "FP152", message, help="check the permissions of the folder")
    if not os.path.isdir(path):
        note = f"`{text}` is not on this machine yet; `architecture` stands in for it"
        return Source("folder", text, folder=path, present=False, notes=(note,))
    _check_no_special(path, text)
    try:
        home, checkpoint = home_of(path)
        run = read_run(home, checkpoint)
        if run is not None:
            run.check_file(home, CONFIG_FILE)
    except (OSError, ValueError) as problem:
        advice = "name another run's folder, or train that one again"
        raise error_at_key(
            SOURCE, "FP164", f"the run `{text}` cannot be used: {problem}", help=advice
        ) from None
    path = path if run is None else home
    sentence = None if run else read_sentence_folder(path, text)
    if sentence and sentence.transformer:
        path, inside = path / sentence.transformer, f"{text.rstrip('/')}/{sentence.transformer}"
        _check_no_special(path, inside)
    else:
        inside = text
    source = Source("run" if run else "folder", text, folder=path, run=run, sentence=sentence)
    if not os.path.lexists(path / CONFIG_FILE):
        return source
    config = read_config(path / CONFIG_FILE, f"{inside}/{CONFIG_FILE}", SOURCE)
    origin = "config of the run" if run else "config of the source"
    return replace(source, config=config, origin=origin, notes=_unused_architecture(table))


def _check_no_special(path: Path, text: str) -> None:
    strange = special_file(path)
    if strange:
        message, advice = f"`{text}/{strange}` is a pipe or a device, not a file", "remove it from the folder"
        raise error_at_key(SOURCE, "FP176", message, help=advice)


def _unused_architecture(table: ModelTable) -> tuple[str, ...]:
    if table.architecture is None and table.config is None:
        return ()
    return ("`architecture` is not used: the source's own config is on this machine",)


def _nearby(path: Path) -> str:
    """Say what exists beside a path that does not."""
    names = _names_in(path.parent)
    if names is None:
        return "relative paths start at the spec's folder"
    return closest(path.name, names) or (f"there are {some(names, 8)}" if names else "its folder is empty")


def _names_in(folder: Path) -> list[str] | None:
    """Return the names in a folder, sorted and without hidden ones; None where it cannot be listed."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except (OSError, ValueError):
        return None
