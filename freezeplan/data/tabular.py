"""Reads tables of rows (JSON, CSV, Parquet, hub) through ``datasets``, and says why when it cannot."""

from __future__ import annotations

import csv
import glob
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
from pyarrow import parquet

from freezeplan.diagnostics.wording import closest_or_all, first_line, quoted
from freezeplan.outside.hub import offline_if_unreachable
from freezeplan.outside.quiet import quiet

BUILDERS = {
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}


_UNPAIRED = re.compile("[\ud800-\udfff]")


class Unreadable(Exception):
    """Say why rows cannot be read: a diagnostic's code, message and help, still without its place."""

    def __init__(self, code: str, message: str, help: str) -> None:
        super().__init__(message)
        self.code, self.message, self.help = code, message, help


def read_file(path: Path) -> datasets.Dataset:
    """Read all rows of a JSONL, JSON, CSV or Parquet file into memory; nothing is left in any cache.

    A CSV file has no types: each of its values is text, exactly as written.
    Raises :class:`Unreadable` for a missing file, an unknown suffix, a file without rows or one that is
    broken.
    """
    kind = _kind(path)
    try:
        if not _has_rows(path, kind):
            raise _empty(path)
        # Arrow takes bytes that are not UTF-8 for text and fails only when they are used.
        if kind != "parquet" and _not_utf8(path):
            raise _broken(path, kind, ValueError())
        with tempfile.TemporaryDirectory(prefix="freezeplan-") as cache, _quiet():
            rows = datasets.load_dataset(
                kind,
                data_files={"rows": glob.escape(str(path.resolve()))},
                split="rows",
                cache_dir=cache,
                keep_in_memory=True,
                **_options(path, kind),
            )
    except Unreadable:
        raise
    except Exception as error:  # datasets raises many unrelated types, StopIteration among them
        raise (_empty(path) if _is_sound_and_empty(path, kind) else _broken(path, kind, error)) from error
    if rows.num_rows == 0:
        raise _empty(path)
    return rows


def read_hub(name: str, subset: str | None, split: str) -> datasets.Dataset:
    """Read one split of a hub dataset, through the hub's own cache.

    Raises :class:`Unreadable` when it cannot be had: no network and not in the cache, no such name, subset or
    split.
    """
    try:
        with _quiet(), offline_if_unreachable():
            return datasets.load_dataset(name, subset, split=split)
    except Exception as error:  # datasets raises many unrelated types
        raise Unreadable(
            "FP463",
            f"hub dataset `{name}`, split `{split}`, cannot be loaded: {first_line(error)}",
            "without network, save it as JSONL, CSV or Parquet and name the files in `data`",
        ) from error


def columns(rows: datasets.Dataset, names: Sequence[str], path: Path | None) -> dict[str, list[Any]]:
    """Return the values of some columns, class numbers of the hub's ``ClassLabel`` as their names.

    ``path`` is the file the rows came from: JSON text that looks like a date is read from it again as text.
    Raises :class:`Unreadable` for values that their own format cannot mean, such as text that is not UTF-8.
    """
    try:
        values = _undecoded(rows.select_columns(list(dict.fromkeys(names))))[:]
    except (UnicodeDecodeError, ValueError, OSError) as error:
        raise _broken(path or Path("the dataset"), "parquet", error) from error
    for name, feature in rows.features.items():
        if name in values and isinstance(feature, datasets.ClassLabel):
            values[name] = [_class_name(feature, value) for value in values[name]]
        elif name in values and _became_a_date(feature, path):
            values[name] = [row.get(name) for row in _json_rows(path)]
    return values


def _undecoded(rows: datasets.Dataset) -> datasets.Dataset:
    """Return the rows with images as bytes and paths: they are decoded one by one, where each is used."""
    for name, feature in rows.features.items():
        if isinstance(feature, datasets.Image):
            rows = rows.cast_column(name, datasets.Image(decode=False))
    return rows


def _class_name(feature: datasets.ClassLabel, value: int | None) -> str | None:
    return feature.int2str(value) if value is not None and value >= 0 else None


def _became_a_date(feature: Any, path: Path | None) -> bool:
    if path is None or BUILDERS[path.suffix.lower()] != "json":
        return False
    return str(getattr(feature, "dtype", "")).startswith(("timestamp", "date", "time"))


def _kind(path: Path) -> str:
    if not path.exists():
        beside = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
        names = [item.name for item in beside if item.suffix.lower() in BUILDERS]
        hint = closest_or_all(path.name, names, "data files there")
        raise Unreadable("FP452", f"data file `{path}` does not exist", hint)
    kind = BUILDERS.get(path.suffix.lower())
    if kind is None or not path.is_file():
        what = f"has the suffix `{path.suffix}`" if path.is_file() else "is not a file"
        raise Unreadable("FP453", f"data file `{path}` {what}", f"readable are {quoted(BUILDERS)}")
    return kind


def _options(path: Path, kind: str) -> dict[str, Any]:
    if kind != "csv":
        return {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file, delimiter=_separator(path)), [])
    repeated = {name for name in header if header.count(name) > 1}
    if repeated:
        message = f"`{path.name}` has more than one column {quoted(sorted(repeated))}"
        raise Unreadable("FP455", message, "rename the columns")
    text = datasets.Features({name: datasets.Value("string") for name in header})
    return {"features": text, "keep_default_na": False, "encoding": "utf-8-sig", "sep": _separator(path)}


def _separator(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _has_rows(path: Path, kind: str) -> bool:
    if kind == "parquet":
        return path.stat().st_size > 0
    with path.open("rb") as file:
        lines = sum(1 for _, line in zip(range(64), (line for line in file if line.strip()), strict=False))
    return lines > (1 if kind == "csv" else 0)


def _is_sound_and_empty(path: Path, kind: str) -> bool:
    try:
        return not _json_rows(path) if kind == "json" else parquet.read_metadata(path).num_rows == 0
    except (OSError, ValueError):
        return False


def _empty(path: Path) -> Unreadable:
    return Unreadable("FP454", f"data file `{path}` has no rows", "check that it was written completely")


def _broken(path: Path, kind: str, error: Exception) -> Unreadable:
    reason = _not_utf8(path) if kind != "parquet" else None
    if reason is not None:
        return Unreadable("FP455", f"`{path.name}` cannot be read: {reason}", "save the file as UTF-8")
    if kind == "json":
        reason = _bad_json(path)
    if kind == "csv":
        reason = _bad_csv(path)
    reason = reason or first_line(error.__cause__ or error)
    return Unreadable("FP455", f"`{path.name}` cannot be read: {reason}", _ADVICE[kind])


_ADVICE = {
    "json": 'write one JSON object per line, such as {"text": "…", "label": "…"}',
    "csv": "write a header line and the same number of fields in each line; quote fields that hold commas",
    "parquet": "write the file again, or use JSONL",
}


def _not_utf8(path: Path) -> str | None:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"line {number} is not UTF-8 text (byte {error.start + 1} of the line)"
    return None


def _bad_json(path: Path) -> str | None:
    try:
        rows = _json_rows(path)
    except json.JSONDecodeError as error:
        return f"line {error.lineno} is not JSON: {error.msg} (column {error.colno})"
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            return f"row {number} is not a JSON object"
        if _UNPAIRED.search(json.dumps(row, ensure_ascii=False)):
            return f"row {number} holds half of a surrogate pair (broken Unicode)"
    return None


def _json_rows(path: Path) -> list[Any]:
    with path.open(encoding="utf-8-sig") as file:
        if path.suffix.lower() == ".json" and file.read(4096).lstrip().startswith("["):
            file.seek(0)
            return json.loads(file.read().removeprefix("\ufeff"))
        file.seek(0)
        lines = ((line.removeprefix("\ufeff").strip(), number) for number, line in enumerate(file, 1))
        return [_json_line(line, number) for line, number in lines if line]


def _json_line(line: str, number: int) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        error.lineno = number
        raise


def _bad_csv(path: Path) -> str | None:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=_separator(path))
        try:
            width = len(next(reader, []))
            for row in reader:
                if len(row) > width:
                    return f"line {reader.line_num} has {len(row)} fields, the header {width}"
        except csv.Error:  # a field longer than the csv module takes, which is no fault of the file
            return None
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the progress bars and the logs of datasets and of the hub's client, and restore them."""
    level, bars = datasets.logging.get_verbosity(), datasets.are_progress_bars_disabled()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    datasets.disable_progress_bars()
    try:
        with quiet():
            yield
    finally:
        datasets.logging.set_verbosity(level)
        if not bars:
            datasets.enable_progress_bars()
