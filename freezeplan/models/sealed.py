"""JSON records that hold a hash of themselves, and hashes of files: what of a run is still what was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from freezeplan.diagnostics.wording import first_line
from freezeplan.outside.regular import open_regular, read_regular

HASH = "sha256"


class Altered(ValueError):
    """Say in a plain sentence why a file is not the one that was written."""


def sealed_text(record: Mapping[str, Any]) -> str:
    """Return a record as indented JSON, its own hash last, with a line break at its end.

    The hash is the sha256 (hex) of the text that the record has without it.

    >>> print(sealed_text({"step": 3}).count(HASH))
    1
    """
    rest = {key: value for key, value in record.items() if key != HASH}
    return json_text({**rest, HASH: hashlib.sha256(_bytes(json_text(rest))).hexdigest()})


def write_sealed(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record with its own hash."""
    path.write_bytes(_bytes(sealed_text(record)))


def read_sealed(path: Path) -> dict[str, Any]:
    """Read what :func:`write_sealed` wrote; raises :class:`Altered` when a single byte of it is another one."""
    data, record = _read(path)
    if _bytes(sealed_text(record)) != data:
        raise Altered(f"`{path.name}` is not what was written (its sha256 differs)")
    return record


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object from a regular file; raises :class:`Altered` when there is none."""
    return _read(path)[1]


def _read(path: Path) -> tuple[bytes, dict[str, Any]]:
    try:
        data = read_regular(path)
        record = json.loads(data.decode("utf-8"))
    except FileNotFoundError:
        raise Altered(f"`{path.name}` is missing") from None
    except OSError as error:
        raise Altered(f"`{path.name}` cannot be read: {first_line(error)}") from None
    except (ValueError, RecursionError):
        raise Altered(f"`{path.name}` is not readable JSON") from None
    if not isinstance(record, dict):
        raise Altered(f"`{path.name}` does not hold what a run writes")
    return data, record


def fault_of(path: Path, name: str, expected: str, length: int | None = None) -> str | None:
    """Say why the file ``name`` is not the one with a sha256 (of its first ``length`` bytes), None when it is."""
    try:
        found = file_sha256(path, length)
    except FileNotFoundError:
        return f"`{name}` is missing"
    except OSError as error:
        return f"`{name}` cannot be read: {first_line(error)}"
    return None if found == expected else f"`{name}` is not what was written (its sha256 differs)"


def file_sha256(path: Path, length: int | None = None) -> str:
    """Return the sha256 (hex) of a regular file's bytes, or of the first ``length``; raises ``OSError``."""
    with open_regular(path) as file:
        if length is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        return hashlib.sha256(file.read(length)).hexdigest()


def json_text(record: object) -> str:
    """Write a record as indented JSON with a line break at its end."""
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
