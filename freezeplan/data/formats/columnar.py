"""Rows of Arrow tables: Parquet files, and what ``datasets`` saves; only the wanted columns are read."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freezeplan.data.formats.row_source import Row, RowSource, Unreadable
from freezeplan.data.spool import NoRoom
from freezeplan.diagnostics.wording import first_line

if TYPE_CHECKING:
    import pyarrow

BATCH = 1000
BUFFER = 1 << 16
PARQUET = "write the file again, or use JSONL"
SAVED = "save it again with `save_to_disk`"
Names = Mapping[str, Sequence[str]]


def parquet_rows(source: RowSource) -> Iterator[Row]:
    """Yield the number of each row of a Parquet file, from 1, and its values."""
    from pyarrow import ArrowException, parquet

    with source.opened() as opened:
        file = opened if opened.seekable() and isinstance(getattr(opened, "name", None), (str, int)) else None
        try:
            # Without these a group of rows, which may be the whole file, is read before its first row comes.
            table = parquet.ParquetFile(file or _uncompressed(opened), buffer_size=BUFFER, pre_buffer=False)
            schema = table.schema_arrow
            source.present.update(dict.fromkeys(schema.names))
            source.check_single(schema.names)
            wanted = [name for name in source.names if name in schema.names]
            batches = table.iter_batches(batch_size=BATCH, columns=wanted) if wanted else ()
            count = table.metadata.num_rows
            yield from arrow_rows(source, batches, class_names(schema), count, PARQUET)
        except (ArrowException, ValueError, OSError) as error:
            raise source.broken(first_line(error).rstrip("."), PARQUET) from None


def _uncompressed(file: Any) -> Any:
    """Return the content of a compressed file as a file that can be read from any place."""
    whole = tempfile.TemporaryFile(prefix="freezeplan-")  # noqa: SIM115 - Arrow holds it
    try:
        shutil.copyfileobj(file, whole)
    except OSError as error:
        if error.errno is None:
            raise
        raise NoRoom(error) from error
    return whole


def saved_rows(source: RowSource, folder: Path) -> Iterator[Row]:
    """Yield the rows of a folder that ``Dataset.save_to_disk`` wrote."""
    from pyarrow import ArrowException, ipc, memory_map

    done = 0
    try:
        state = json.loads((folder / "state.json").read_text("utf-8"))
        for item in state["_data_files"]:
            with (
                memory_map(str(folder / Path(item["filename"]).name)) as file,
                ipc.open_stream(file) as stream,
            ):
                source.present.update(dict.fromkeys(stream.schema.names))
                source.check_single(stream.schema.names)
                names = class_names(stream.schema)
                for batch in stream:
                    wanted = [name for name in source.names if name in batch.schema.names]
                    for number, values in arrow_rows(
                        source, [batch.select(wanted)], names, batch.num_rows, SAVED
                    ):
                        yield done + number, values
                    done += batch.num_rows
    except (ArrowException, ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise source.broken(first_line(error).rstrip("."), SAVED) from None


def class_names(schema: pyarrow.Schema) -> Names:
    """Return the names behind the class numbers of ``ClassLabel`` columns, and of lists of those.

    ``datasets`` keeps them beside a table.
    """
    try:
        kept = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        features = {name: feature.get("feature", feature) for name, feature in kept.items()}
        found = {
            name: feature["names"]
            for name, feature in features.items()
            if feature.get("_type") == "ClassLabel"
        }
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
    return {name: names for name, names in found.items() if isinstance(names, list)}


def arrow_rows(
    source: RowSource, batches: Iterable[Any], names: Names, count: int, advice: str
) -> Iterator[Row]:
    """Yield the rows of batches, class numbers as their names; ``count`` rows of nothing without a wanted column."""
    if not any(name in source.present for name in source.names):
        yield from ((number, [None] * len(source.names)) for number in range(1, min(count, 1) + 1))
        return
    done = 0
    for batch in batches:
        present = set(batch.schema.names)
        columns = [
            _values(source, batch.column(name), names.get(name), done, advice)
            if name in present
            else [None] * batch.num_rows
            for name in source.names
        ]
        yield from enumerate(zip(*columns, strict=True), done + 1)
        done += batch.num_rows


def _values(source: RowSource, column: Any, names: Sequence[str] | None, done: int, advice: str) -> list[Any]:
    try:
        found = column.to_pylist()
    except UnicodeDecodeError:
        raise source.broken(f"row {done + _first_broken(column)} is not UTF-8 text", advice) from None
    return found if names is None else [_name(names, value) for value in found]


def _first_broken(column: Any) -> int:
    for number, value in enumerate(column, 1):
        try:
            value.as_py()
        except UnicodeDecodeError:
            return number
    return 1


def _name(names: Sequence[str], value: Any) -> Any:
    if isinstance(value, list):
        return [_name(names, item) for item in value]
    if not isinstance(value, int) or value < 0:
        return None
    if value >= len(names):
        raise Unreadable("FP458", f"a class number is {value}, and the column names {len(names)} classes")
    return names[value]
