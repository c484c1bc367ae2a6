"""What plans are compared by: a record of what is done to each tensor, without what follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from freezeplan.plan.gathering import with_ranges

Record = Mapping[str, Any]


def comparable(record: Record) -> dict[str, Any]:
    """Return a plan's record reduced to what a lock holds too, whichever of the two it comes from.

    The row of a parameter has in each phase its ``state``, ``lr``, ``weight_decay``, ``no_decay``, the ``options``
    in which it differs from its optimizer, that ``optimizer``'s label and the ``rule`` of its group, beside
    ``name``, ``aliases``, ``shape`` and ``dtype``; ``decided_by`` where it is known. Modules stand in ranges.
    """
    optimizers = {label: _optimizer(item) for label, item in record["optimizers"].items()}
    main = _optimizer(record["optimizer"])
    grouped = None if "assignments" in record else _of_groups(record)
    return {
        "model": {key: record["model"][key] for key in ("label", "origin", "base")},
        "optimizer": main,
        "optimizers": optimizers,
        "stop_when": record["stop_when"],
        "score": record.get("score"),
        "frozen_dtype": record.get("frozen_dtype"),
        "freeze_when": record.get("freeze_when"),
        "phases": [
            _phase(record, place, {"": main, **optimizers}, grouped) for place in range(len(record["phases"]))
        ],
    }


def _optimizer(item: Record) -> dict[str, Any]:
    return {
        **{key: item[key] for key in ("name", "lr", "weight_decay")},
        **{key: without_none(item[key]) for key in ("options", "arguments")},
    }


def without_none(table: Record) -> dict[str, Any]:
    """Return a table without the keys that have no value."""
    return {key: value for key, value in table.items() if value is not None}


def _phase(
    record: Record, place: int, optimizers: Record, grouped: Mapping[str, Record] | None
) -> dict[str, Any]:
    phase = record["phases"][place]
    return {
        **{key: phase[key] for key in ("name", "length", "schedule", "on_thaw")},
        **{key: sorted(with_ranges(phase[key])) for key in ("eval_modules", "kept_in_train_mode")},
        "parameters": list(_rows(record, phase, place, optimizers, grouped)),
    }


def _rows(
    record: Record, phase: Record, place: int, optimizers: Record, grouped: Mapping[str, Record] | None
) -> Iterator[dict[str, Any]]:
    for row in phase["parameters"]:
        more = record["assignments"][row["assignment"]] if grouped is None else grouped[row["name"]]
        label = more["optimizer"] or ""
        options = more["options"] if grouped is None else more["options"][place]
        trains = row["state"] == "trainable"
        yield {
            **{key: row[key] for key in ("name", "aliases", "shape", "dtype", "state", "lr", "weight_decay")},
            "no_decay": bool(row["no_decay"]) and trains,
            "options": _own(options, optimizers[label]["options"]) if trains else {},
            "optimizer": label if trains else "",
            "rule": more["rule"] if trains else row["decided_by"].get("state", more["rule"]),
            "decided_by": row["decided_by"],
        }


def _own(options: Record, usual: Record) -> dict[str, Any]:
    """Return the options that differ from the optimizer's."""
    return {key: value for key, value in without_none(options).items() if usual.get(key) != value}


def _of_groups(record: Record) -> dict[str, Record]:
    """Return, for a plan of an older format, the group or the frozen row of each tensor."""
    frozen = {"optimizer": None, "options": [{}] * len(record["phases"])}
    return {
        name: {**frozen, **item}
        for item in (*record["groups"], *record["frozen"])
        for name in item["members"]
    }
