"""The lock of a spec: what its plan does to each tensor, one sorted line per tensor, made to be reviewed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from freezeplan.diagnostics.wording import format_number, format_rate, format_shape, in_quotes

Record = Mapping[str, Any]
LOCK_VERSION = "1.0"
SUFFIX = ".lock"
OPENING = "# A lock of freezeplan"
HEAD = ("spec", "libraries", "model")
TENSORS = "tensors"
BARE = re.compile(r"[A-Za-z0-9_-]+")
ON_A_LINE = 3
NOT_DECAYED = " (no_decay)"


def lock_text(record: Record, head: Record, spec: str) -> str:
    """Return the text of a lock, the same to the byte for the same plan and head.

    ``record`` is a :func:`freezeplan.plan.comparable.comparable` one. ``head`` holds the tables ``spec``,
    ``libraries`` and ``model``, which say what the plan came from; ``spec`` is the spec's file name.
    """
    opening = (
        f"{OPENING}: what the plan of {in_quotes(spec)} does to each tensor of its model.\n"
        "# `freezeplan lock` writes it, `freezeplan check --locked` compares it. Commit it beside the spec."
    )
    return "\n".join([opening, *_head(record, head), f"[{TENSORS}]", *_lines(record)]) + "\n"


def _head(record: Record, head: Record) -> Iterator[str]:
    """Yield the lines before those of the tensors: what the plan came from, the optimizers, the phases."""
    yield f'format_version = "{LOCK_VERSION}"\n'
    if record.get("frozen_dtype"):
        yield f"frozen_dtype = {_string(record['frozen_dtype'])}\n"
    for key in HEAD:
        yield from _table(f"[{key}]", head[key])
    yield from _table("[optimizer]", record["optimizer"])
    for label, optimizer in record["optimizers"].items():
        yield from _table(f"[optimizers.{_string(label)}]", optimizer)
    if record["stop_when"]:
        yield from _table("[stop_when]", record["stop_when"])
    if record.get("score"):
        yield from _table("[score]", record["score"])
    if record.get("freeze_when"):
        yield from _table("[freeze_when]", record["freeze_when"])
    for phase in record["phases"]:
        yield from _table("[[phase]]", {key: phase[key] for key in phase if key != "parameters"})


def _table(header: str, table: Record) -> Iterator[str]:
    yield header
    yield from (f"{_key(key)} = {_written(value)}" for key, value in table.items())
    yield ""


def _key(text: str) -> str:
    return text if BARE.fullmatch(text) else _string(text)


def _written(value: Any) -> str:
    """Write a value of TOML; tables stand on one line, of a long list each entry does."""
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return (
            f"{{ {', '.join(f'{_key(key)} = {_written(item)}' for key, item in value.items())} }}"
            if value
            else "{}"
        )
    if isinstance(value, (list, tuple)):
        parts = [_written(item) for item in value]
        return (
            f"[{', '.join(parts)}]"
            if len(parts) <= ON_A_LINE
            else "\n  ".join(["[", *(f"{p}," for p in parts)]) + "\n]"
        )
    return repr(value)


def _lines(record: Record) -> list[str]:
    columns = [phase["parameters"] for phase in record["phases"]]
    return sorted(
        f"{_string(rows[0]['name'])} = {_string(_value(rows))}" for rows in zip(*columns, strict=True)
    )


def _string(text: str) -> str:
    """Write a basic string of TOML on one line."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(rows: Sequence[Record]) -> str:
    """Return what a tensor gets in each phase, equal neighbours folded, then what it is."""
    first = rows[0]
    what = f"{format_shape(tuple(first['shape']))} {first['dtype']}"
    return "; ".join([*_in_phases(rows), what, *(f"also {escaped(name)}" for name in first["aliases"])])


def _in_phases(rows: Sequence[Record]) -> Iterator[str]:
    texts = [_treatment(row) for row in rows]
    start = 1
    for text, run in groupby(texts):
        end = start + sum(1 for _ in run) - 1
        if end - start + 1 == len(texts):
            yield text
        else:
            yield f"phase {start}: {text}" if start == end else f"phases {start}-{end}: {text}"
        start = end + 1


def _treatment(row: Record) -> str:
    if row["state"] != "trainable":
        return f"{row['state']} by {escaped(row['rule'])}"
    parts = [
        "trainable",
        f"lr {format_rate(row['lr'])}",
        f"weight_decay {format_number(row['weight_decay'])}{NOT_DECAYED if row['no_decay'] else ''}",
        *(
            f"{key} {_word(json.dumps(value, separators=(',', ':')))}"
            for key, value in row["options"].items()
        ),
        *([f"optimizer {_word(row['optimizer'])}"] if row["optimizer"] else []),
    ]
    return f"{', '.join(parts)} by {escaped(row['rule'])}"


def escaped(text: str) -> str:
    """Write a name so that no part of a line ends in it.

    >>> escaped("a; 100 %")
    'a%3B 100 %25'
    """
    return text.replace("%", "%25").replace(";", "%3B")


def _word(text: str) -> str:
    """Write a value so that no space ends it."""
    return escaped(text).replace(" ", "%20")


def without_escapes(text: str) -> str:
    """Return what :func:`escaped` wrote, spaces included.

    >>> without_escapes(escaped("a; 100 % %3B"))
    'a; 100 % %3B'
    """
    return text.replace("%20", " ").replace("%3B", ";").replace("%25", "%")
