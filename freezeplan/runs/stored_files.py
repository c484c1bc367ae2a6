"""The files of a run's store of the frozen prefix, re-checked: they are there as long as the run is not finished."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from freezeplan.diagnostics import Diagnostic, diagnostic
from freezeplan.models.sealed import Altered, read_sealed
from freezeplan.prefix.files import checksum

_STORE = re.compile(r"store(-\d+)?/.*")
ADVICE = "it is computed again by `freezeplan train --resume`; nothing is lost"


def is_store(name: str) -> bool:
    """Whether a file, seen from the run's folder, belongs to a store.

    >>> is_store("store/encoder.bin"), is_store("store-1/encoder.json"), is_store("stores.txt")
    (True, True, False)
    """
    return _STORE.fullmatch(name) is not None


def check_stores(run: Path) -> Iterator[Diagnostic]:
    """Yield FP550 for each file of a store that is not the one that was written, or that has no record."""
    places = {
        place.with_suffix(".json") for kind in ("json", "bin") for place in run.glob(f"store*/*.{kind}")
    }
    for record in sorted(places):
        name = record.relative_to(run).as_posix()
        if is_store(name) and not record.name.startswith("."):
            reason = _fault(record)
            if reason is not None:
                yield diagnostic("FP550", f"`{name}`: {reason}", help=ADVICE)


def _fault(record: Path) -> str | None:
    numbers = record.with_suffix(".bin")
    try:
        found = read_sealed(record)
        whole = numbers.stat().st_size == found.get("bytes") and checksum(numbers) == found.get("crc32")
    except (Altered, OSError) as error:
        return str(error)
    return None if whole else f"`{numbers.name}` is not what was written"
