"""Rows of a dataset of the Hugging Face hub, through the library that reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from freezeplan.data.formats.columnar import BATCH, arrow_rows
from freezeplan.data.formats.row_source import Row, RowSource, Unreadable
from freezeplan.diagnostics.wording import first_line
from freezeplan.outside.hub import offline_if_unreachable
from freezeplan.outside.quiet import quiet

ADVICE = "without network, save it as JSONL, CSV or Parquet and name the files in `data`"


def hub_rows(source: RowSource, name: str, subset: str | None, split: str) -> Iterator[Row]:
    """Yield the rows of a split, from the hub's own cache where it is there.

    Raises ``Unreadable`` (FP463) when it cannot be had: no network and not in the cache, no such name, subset or
    split.
    """
    rows = load_hub(name, subset, split)
    source.present.update(dict.fromkeys(rows.column_names))
    wanted = [column for column in source.names if column in source.present]
    chosen = rows.select_columns(wanted)
    names = _names(chosen.features)
    with _quiet():
        tables = chosen.with_format("arrow").iter(BATCH) if wanted else ()
        batches = (batch for table in tables for batch in [table.combine_chunks()])
        yield from arrow_rows(source, batches, names, len(rows), ADVICE)


def load_hub(name: str, subset: str | None, split: str, **more: Any) -> Any:
    """Return a split as the library gives it; raises ``Unreadable`` (FP463)."""
    import datasets

    with _explained(name, split), _quiet(), offline_if_unreachable():
        return datasets.load_dataset(name, subset, split=split, **more)


def streamed_hub_rows(
    source: RowSource, name: str, subset: str | None, split: str, at: Any
) -> Iterator[tuple[Row, Any]]:
    """Yield the rows of a split as they are fetched, each with the position behind it; see ``Feed``.

    A position is the library's own, of the tables that were fetched before, and the rows of the next one.
    """
    rows = load_hub(name, subset, split, streaming=True).with_format("arrow")
    state, done, skipped = at or (None, 0, 0)
    if state is not None:
        rows.load_state_dict(state)
    tables = rows.iter(BATCH)
    while (table := _next(tables, name, split)) is not None:
        source.present.update(dict.fromkeys(table.column_names))
        chosen = table.select([column for column in source.names if column in source.present])
        found = arrow_rows(source, [chosen.combine_chunks()], _names(rows.features), table.num_rows, ADVICE)
        for number, (row, values) in enumerate(found, 1):
            if number > skipped:
                yield (done + row, values), [state, done, number]
        state, done, skipped = rows.state_dict(), done + table.num_rows, 0


def hub_origin(name: str, subset: str | None) -> str:
    """Return what is another one when the files of a dataset are; raises ``Unreadable`` (FP463)."""
    import datasets

    with _explained(name, "all"), _quiet(), offline_if_unreachable():
        builder = datasets.load_dataset_builder(name, subset)
        files = builder.config.data_files or {}
        told = [(split, found.origin_metadata) for split, found in files.items()]
        return repr(told) if told else builder.hash


def _next(tables: Iterator[Any], name: str, split: str) -> Any:
    with _explained(name, split), _quiet():
        return next(tables, None)


@contextmanager
def _explained(name: str, split: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # datasets raises many unrelated types
        message = f"hub dataset `{name}`, split `{split}`, cannot be loaded: {first_line(error).rstrip('.')}"
        raise Unreadable("FP463", message, ADVICE) from error


def _names(features: Any) -> dict[str, list[str]]:
    """Return the names behind the class numbers of columns, and of lists of those."""
    inner = {name: getattr(feature, "feature", feature) for name, feature in (features or {}).items()}
    return {name: feature.names for name, feature in inner.items() if hasattr(feature, "names")}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the progress bars and the logs of datasets and of the hub's client, and restore them."""
    import datasets

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
