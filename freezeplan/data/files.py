"""From what a spec says of a split to the files it means: paths, patterns, folders, and which reader each has."""

from __future__ import annotations

import glob
import gzip
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from freezeplan.data.formats.class_folders import class_folder_rows
from freezeplan.data.formats.columnar import parquet_rows, saved_rows
from freezeplan.data.formats.conll_rows import conll_rows
from freezeplan.data.formats.conllu_rows import conllu_rows
from freezeplan.data.formats.json_rows import json_rows
from freezeplan.data.formats.row_source import Row, RowSource, Unreadable
from freezeplan.data.formats.separated import separated_rows
from freezeplan.diagnostics.wording import MOST_NAMES, nearest, quoted, some
from freezeplan.outside.regular import UnreadableFile, open_regular

Reader = Callable[[RowSource], Iterator[Row]]


@dataclass(frozen=True)
class Format:
    """Name a format: its reader, what the numbers of its rows count, and whether it reads single columns."""

    read: Reader
    unit: str
    by_column: bool = False


CSV = Format(partial(separated_rows, separator=","), "line")
TSV = Format(partial(separated_rows, separator="\t"), "line")
JSON = Format(json_rows, "line")
PARQUET = Format(parquet_rows, "row", by_column=True)
CONLL = Format(conll_rows, "line")
CONLLU = Format(conllu_rows, "line")
FORMATS = {
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), JSON),
    ".csv": CSV,
    ".tsv": TSV,
    ".parquet": PARQUET,
    **dict.fromkeys((".conll", ".bio", ".iob", ".iob2"), CONLL),
    **dict.fromkeys((".conllu", ".conllup"), CONLLU),
}
COMPRESSED = ".gz"
PATTERN = "*?["


@dataclass(frozen=True)
class DataFile:
    """Name one file, or folder, of rows; ``folder`` is where paths in its rows start."""

    path: Path
    format: Format
    folder: Path

    @property
    def name(self) -> str:
        """Its name in messages."""
        return self.path.name

    @property
    def signature(self) -> tuple[object, ...]:
        """What changes when its content does, as far as that can be told without reading it."""
        found = os.stat(self.path)
        return (os.path.realpath(self.path), found.st_ino, found.st_size, found.st_mtime_ns)

    def rows(self, names: Sequence[str], present: dict[str, None]) -> Iterator[Row]:
        """Yield its rows; see :class:`RowSource`."""
        return self.format.read(RowSource(self._open, self.name, names, present))

    def _open(self) -> BinaryIO:
        file = open_regular(self.path)
        return gzip.GzipFile(fileobj=file, mode="rb") if self.path.suffix.lower() == COMPRESSED else file


def is_data_file(path: Path) -> bool:
    """Tell by its name whether a file is one that holds rows.

    >>> is_data_file(Path("rows.csv.gz")), is_data_file(Path("notes.txt"))
    (True, False)
    """
    return _suffix(path) in FORMATS


def _suffix(path: Path) -> str:
    found = path.with_suffix("").suffix if path.suffix.lower() == COMPRESSED else path.suffix
    return found.lower()


def data_files(entries: Sequence[str], start: Path) -> tuple[DataFile, ...]:
    """Return the files that paths and patterns mean, seen from a folder, those of a pattern sorted.

    A path that is there is no pattern, whatever it holds. Raises ``Unreadable``: FP452 where nothing is, FP453 for
    what no reader takes.
    """
    return tuple(data_file(path, entry) for entry in entries for path in _paths(entry, start))


def _paths(entry: str, start: Path) -> list[Path]:
    if not entry.strip():
        raise Unreadable("FP452", "the path of a data file is empty", "name a file, such as `train.jsonl`")
    path = start / os.path.expanduser(entry)
    try:
        if path.exists() or not any(char in entry for char in PATTERN):
            return [path]
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Unreadable("FP452", f"data file `{entry[:200]}` cannot be found: {reason.lower()}") from None
    if not found:
        raise Unreadable(
            "FP452", f"no file fits the pattern `{entry}`", "patterns start at the spec's folder"
        )
    return found


def data_file(path: Path, written: str | None = None) -> DataFile:
    """Return one file with its format; raises ``Unreadable`` (FP452, FP453).

    ``written`` is what the user wrote for its path, if that is another text.
    """
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise _missing(path, Path(written or path))
    format = FORMATS.get(_suffix(path))
    if format is None:
        raise Unreadable("FP453", f"data file `{path}` has the suffix `{path.suffix}`", _readable())
    try:
        open_regular(path).close()
    except UnreadableFile as error:
        raise Unreadable(
            "FP453", f"data file `{path}` cannot be read: {error}", _advice(str(error))
        ) from None
    return DataFile(path, format, path.parent)


def _advice(reason: str) -> str:
    return "write its rows into a file" if reason.endswith("not a file") else "let its owner make it readable"


def _missing(path: Path, written: Path) -> Unreadable:
    """Suggest a file of the same folder whose name is alike, its ending aside: nearly all of them have the same."""
    if not path.parent.is_dir():
        return Unreadable("FP452", f"data file `{path}` does not exist", _missing_folder(path, written))
    beside = sorted(path.parent.iterdir())
    names = [item.name for item in beside if item.suffix.lower() in (*FORMATS, COMPRESSED) or item.is_dir()]
    stems: dict[str, str] = {}
    for name in sorted(names, key=lambda name: Path(name).suffix == path.suffix):
        stems[_stem(name)] = name
    meant = [str(written.with_name(stems[stem])) for stem in nearest(_stem(path.name), stems)]
    everything = (
        f"the data files there are {some(names, MOST_NAMES)}" if names else "there are no data files there"
    )
    hint = f"did you mean `{meant[0]}`?" if meant else everything
    return Unreadable("FP452", f"data file `{path}` does not exist", hint)


def _missing_folder(path: Path, written: Path) -> str:
    """Say which folder of a path is not there, and which of those beside it may be meant."""
    lost = next(folder for folder in reversed(path.parents) if not folder.is_dir())
    beside = [item.name for item in lost.parent.iterdir() if item.is_dir()] if lost.parent.is_dir() else []
    meant = nearest(lost.name, sorted(beside))
    depth = len(path.parts) - len(lost.parts) + 1
    if not meant or depth > len(written.parts):
        return f"there is no folder `{lost}`"
    parts = list(written.parts)
    parts[-depth] = meant[0]
    return f"there is no folder `{lost}`; did you mean `{Path(*parts)}`?"


def _stem(name: str) -> str:
    """Return a file's name without the endings that say its format.

    >>> _stem("train.csv.gz"), _stem("v1.2.jsonl")
    ('train', 'v1.2')
    """
    path = Path(name)
    path = path.with_suffix("") if path.suffix.lower() == COMPRESSED else path
    return path.stem if path.suffix.lower() in FORMATS else path.name


def _folder(path: Path) -> DataFile:
    names = {entry.name for entry in os.scandir(path)}
    if "state.json" in names and "dataset_info.json" in names:
        return DataFile(path, Format(lambda source: saved_rows(source, path), "row", by_column=True), path)
    if "dataset_dict.json" in names:
        splits = sorted(name for name in names if (path / name / "state.json").is_file())
        what = f"data folder `{path}` holds several splits"
        raise Unreadable("FP453", what, f"name one of them: {quoted(str(path / name) for name in splits)}")
    data = sorted(name for name in names if Path(name).suffix.lower() in FORMATS)
    if data:
        advice = f"name its files, one by one or by a pattern such as `{path.name}/*{Path(data[0]).suffix}`"
        raise Unreadable("FP453", f"data file `{path}` is a folder", advice)
    if any((path / name).is_dir() for name in names if not name.startswith(".")):
        return DataFile(path, Format(lambda source: class_folder_rows(source, path), "row"), path)
    what = "is a folder, neither one of images in a folder per class nor one of `save_to_disk`"
    raise Unreadable("FP453", f"data file `{path}` {what}", _readable())


def _readable() -> str:
    return f"readable are {quoted(FORMATS)}, each also as `{COMPRESSED}`"
