"""A lock read back, or refused with the line where it is damaged."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from freezeplan.diagnostics import Diagnostic, DiagnosticError, Span, diagnostic
from freezeplan.plan.lock import HEAD, LOCK_VERSION, NOT_DECAYED, TENSORS, without_escapes
from freezeplan.plan.reading import check_format

Record = Mapping[str, Any]
MARKERS = re.compile(r"^(?:<{7}|={7}|>{7}|\|{7})(?= |\r?$)", re.MULTILINE)
PART = re.compile(
    r"(?:phases? (?P<first>\d+)(?:-(?P<last>\d+))?: )?"
    r"(?:(?P<frozen>frozen)|trainable, lr (?P<lr>[^\s,]+), weight_decay (?P<decay>[^\s,]+)(?P<no_decay> \(no_decay\))?"
    r"(?P<more>(?:, [^\s,]+ \S+)*)) by (?P<rule>.*)",
    re.DOTALL,
)
SHAPE = re.compile(r"(?P<shape>scalar|\d+(?: x \d+)*) (?P<dtype>\S+)")
MORE = re.compile(r", ([^\s,]+) (\S+?)(?=, |$)")
ALSO = "also "
AGAIN = "write it again: `freezeplan lock SPEC`"
PHASE_KEYS = {
    **{"name": str, "length": dict, "schedule": dict, "on_thaw": str},
    **{"eval_modules": list, "kept_in_train_mode": list},
}


@dataclass(frozen=True)
class Lock:
    """Hold a lock: its head (``spec``, ``libraries``, ``model``), and the record to compare plans by."""

    head: Record
    record: Record


def read_lock(text: str, name: str) -> Lock:
    """Return the lock in a text that :func:`freezeplan.plan.lock.lock_text` wrote; ``name`` is its file's.

    Raises ``DiagnosticError``: FP582 for a text that is none, or damaged, with the line; FP583 for another version
    of its format.
    """
    if (marker := MARKERS.search(text)) is not None:
        raise _damaged(name, "a merge has left its marks in it", _span(text, name, marker.start()))
    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _damaged(name, "it is not valid TOML", _span_of(text, name, str(error))) from None
    if "format_version" not in tables:
        raise _damaged(name, "it has no `format_version`")
    check_format(tables["format_version"], LOCK_VERSION, name, "FP583", AGAIN)
    try:
        return Lock({key: _head(tables[key]) for key in HEAD}, _record(tables))
    except _OddLine as odd:
        at = text.find(json.dumps(odd.key, ensure_ascii=False))
        message = f"what it says of `{odd.key}` is not what `freezeplan lock` writes"
        raise _damaged(name, message, _span(text, name, max(at, 0))) from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = (
            f"`{error.args[0]}` is missing" if isinstance(error, KeyError) else "a table of it is damaged"
        )
        raise _damaged(name, reason) from None


class _OddLine(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _damaged(name: str, reason: str, span: Span | None = None) -> DiagnosticError:
    found: Diagnostic = diagnostic(
        "FP582", f"the lock `{name}` cannot be used: {reason}", span=span, help=AGAIN
    )
    return DiagnosticError([found])


def _span(text: str, name: str, at: int) -> Span:
    start = text.rfind("\n", 0, at) + 1
    line = text[start:].split("\n", 1)[0].removesuffix("\r")
    return Span(name, text.count("\n", 0, at) + 1, at - start + 1, max(1, len(line) - (at - start)), line)


def _span_of(text: str, name: str, message: str) -> Span:
    """Return the place that a message of tomllib ends with."""
    found = re.search(r"\(at line (\d+), column (\d+)\)", message)
    if found is None:
        return _span(text, name, len(text.rstrip()))
    line = text.split("\n")[int(found[1]) - 1].removesuffix("\r")
    return Span(name, int(found[1]), int(found[2]), 1, line)


def _head(value: Any) -> dict[str, str]:
    return {key: _of_kind(str, text) for key, text in _table(value).items()}


def _phase(phase: Any) -> dict[str, Any]:
    """Return what is said of a phase as a whole."""
    found = {key: _table(phase)[key] for key in PHASE_KEYS}
    for key, kind in PHASE_KEYS.items():
        _of_kind(kind, found[key])
    for path in (*found["eval_modules"], *found["kept_in_train_mode"]):
        _of_kind(str, path)
    return found


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("not a table")
    return value


def _record(tables: Record) -> dict[str, Any]:
    model, phases = tables["model"], [_phase(item) for item in _of_kind(list, tables["phase"])]
    if len({phase["name"] for phase in phases}) < max(1, len(phases)):
        raise ValueError("phases")
    rows = _rows(_table(tables[TENSORS]), len(phases))
    return {
        "model": {key: _of_kind(str, model[key]) for key in ("label", "origin", "base")},
        "optimizer": _optimizer(tables["optimizer"]),
        "optimizers": {label: _optimizer(item) for label, item in tables.get("optimizers", {}).items()},
        "stop_when": _table(tables["stop_when"]) if "stop_when" in tables else None,
        "score": _score(tables["score"]) if "score" in tables else None,
        "frozen_dtype": _of_kind(str, tables["frozen_dtype"]) if "frozen_dtype" in tables else None,
        "freeze_when": _table(tables["freeze_when"]) if "freeze_when" in tables else None,
        "phases": [{**phase, "parameters": rows[place]} for place, phase in enumerate(phases)],
    }


def _score(table: Any) -> dict[str, float]:
    return {metric: float(_of_kind((int, float), weight)) for metric, weight in _table(table).items()}


def _of_kind(kind: type | tuple[type, ...], value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is not what belongs there")
    return value


def _optimizer(item: Record) -> dict[str, Any]:
    return {
        "name": _of_kind(str, item["name"]),
        **{key: float(_of_kind((int, float), item[key])) for key in ("lr", "weight_decay")},
        **{key: _table(item[key]) for key in ("options", "arguments")},
    }


def _rows(tensors: Record, phases: int) -> list[list[dict[str, Any]]]:
    """Return the rows of each phase, tensors in the order of the lock."""
    known = cache(lambda value: _read(value, phases))
    columns: list[list[dict[str, Any]]] = [[] for _ in range(phases)]
    for name, value in tensors.items():
        rows = known(value) if isinstance(value, str) else None
        if rows is None:
            raise _OddLine(name)
        for column, row in zip(columns, rows, strict=True):
            column.append({"name": name, **row})
    return columns


def _read(value: str, phases: int) -> list[dict[str, Any]] | None:
    """Return what a tensor's line says, one row per phase; None where it is not what a lock says."""
    parts = value.split("; ")
    shape_at = next((at for at, part in enumerate(parts) if SHAPE.fullmatch(part)), None)
    aliases = parts[shape_at + 1 :] if shape_at is not None else []
    if not shape_at or not all(part.startswith(ALSO) for part in aliases):
        return None
    found = SHAPE.fullmatch(parts[shape_at])
    matches = [PART.fullmatch(part) for part in parts[:shape_at]]
    if found is None or None in matches:
        return None
    what = {
        "aliases": [without_escapes(part.removeprefix(ALSO)) for part in aliases],
        "shape": [] if found["shape"] == "scalar" else [int(size) for size in found["shape"].split(" x ")],
        "dtype": found["dtype"],
    }
    try:
        return _spread([match for match in matches if match], what, phases)
    except ValueError:
        return None


def _spread(matches: list[re.Match[str]], what: Record, phases: int) -> list[dict[str, Any]] | None:
    rows: list[dict[str, Any]] = []
    for match in matches:
        first = int(match["first"] or 1)
        last = int(match["last"] or match["first"] or phases)
        if first != len(rows) + 1 or last < first or last > phases:
            return None
        rows += [{**what, **_treatment(match)} for _ in range(first, last + 1)]
    return rows if len(rows) == phases else None


def _treatment(match: re.Match[str]) -> dict[str, Any]:
    trains = match["frozen"] is None
    more = {key: without_escapes(value) for key, value in MORE.findall(match["more"] or "")}
    optimizer = more.pop("optimizer", "")
    return {
        "state": "trainable" if trains else "frozen",
        "lr": float(match["lr"]) if trains else None,
        "weight_decay": float(match["decay"]) if trains else None,
        "no_decay": match["no_decay"] == NOT_DECAYED,
        "options": {key: json.loads(value) for key, value in more.items()},
        "optimizer": optimizer,
        "rule": without_escapes(match["rule"]),
        "decided_by": {},
    }
