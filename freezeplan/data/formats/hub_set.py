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
    features = {name: getattr(chosen.features[name], "feature", chosen.features[name]) for name in wanted}
    names = {name: feature.names for name, feature in features.items() if hasattr(feature, "names")}
    with _quiet():
        tables = chosen.with_format("arrow").iter(BATCH) if wanted else ()
        batches = (batch for table in tables for batch in [table.combine_chunks()])
        yield from arrow_rows(source, batches, names, len(rows), ADVICE)


def load_hub(name: str, subset: str | None, split: str) -> Any:
    """Return a split as the library gives it; raises ``Unreadable`` (FP463)."""
    import datasets

    try:
        with _quiet(), offline_if_unreachable():
            return datasets.load_dataset(name, subset, split=split)
    except Exception as error:  # datasets raises many unrelated types
        message = f"hub dataset `{name}`, split `{split}`, cannot be loaded: {first_line(error).rstrip('.')}"
        raise Unreadable("FP463", message, ADVICE) from error


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
