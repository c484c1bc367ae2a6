"""The plan as a document: the record that JSON, tables and reports are all made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from freezeplan.plan.records import (
    Assignment,
    FrozenSet,
    Group,
    Length,
    Options,
    Phase,
    Plan,
    PlannedOptimizer,
    PlannedParam,
)

WHERE_SAID = ("score", "frozen_dtype", "freeze_when")
"""What a record holds only where a spec says it."""


def to_record(plan: Plan) -> dict[str, Any]:
    """Return the plan as plain JSON types, keys in a fixed order.

    The record is deterministic to the byte: no time, no absolute path, no order of a set. ``assignments`` lists the
    different ones, by their first use; ``assignment`` in the row of a parameter is a place in that list.
    :func:`freezeplan.plan.reading.plan_from_record` reads it back.
    """
    different, places = _distinct(plan)
    return {
        "format_version": plan.format_version,
        "model": {"label": plan.model, "origin": plan.origin, "base": plan.base},
        "optimizer": _optimizer(plan.optimizers[0]),
        "optimizers": {item.label: _optimizer(item) for item in plan.optimizers[1:]},
        "stop_when": asdict(plan.stop_when) if plan.stop_when else None,
        **({"score": dict(plan.score)} if plan.score else {}),
        **({"frozen_dtype": plan.frozen_dtype} if plan.frozen_dtype else {}),
        **({"freeze_when": _said(asdict(plan.freeze_when))} if plan.freeze_when else {}),
        "totals": totals(plan),
        "groups": [_group(group) for group in plan.groups],
        "frozen": [_frozen(row) for row in plan.frozen],
        "phases": [_phase(plan, phase, places) for phase in plan.phases],
        "assignments": [_assignment(what) for what in different],
        "diagnostics": [item.as_record() for item in plan.diagnostics],
    }


def _said(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}


def to_json(plan: Plan) -> str:
    """Return the plan's record as JSON text with a line break at its end."""
    return as_json(to_record(plan))


def as_json(record: dict[str, Any]) -> str:
    """Write a plan's record, or one that more was added to, as JSON text with a line break at its end."""
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def plan_hash(plan: Plan) -> str:
    """Return the sha256 of what the plan does, in hexadecimal; advice and labels do not count."""
    return record_hash(to_record(plan))


def record_hash(record: Mapping[str, Any]) -> str:
    """Return :func:`plan_hash` of a plan from its record; raises ``KeyError`` where a part of it is absent."""
    keys = ("format_version", "optimizer", "optimizers", "stop_when", "groups", "frozen", "phases")
    essence = {key: record[key] for key in keys} | {key: record[key] for key in WHERE_SAID if key in record}
    return hashlib.sha256(json.dumps(essence, sort_keys=True).encode()).hexdigest()


def totals(plan: Plan) -> dict[str, int]:
    """Return the numbers of the summary line, for the whole plan."""
    return {
        "tensors": len(plan.params),
        "parameters": plan.numel,
        "trainable_tensors": sum(len(group.members) for group in plan.groups),
        "trainable_parameters": sum(group.numel for group in plan.groups),
        "tied_names": sum(len(param.aliases) for param in plan.params),
        "optimizer_state_bytes": max((phase.optimizer_state_bytes for phase in plan.phases), default=0),
    }


def _optimizer(item: PlannedOptimizer) -> dict[str, Any]:
    return {
        "name": item.name,
        "lr": item.lr,
        "weight_decay": item.weight_decay,
        "options": _options(item.options),
        "arguments": _options(item.arguments),
        "decays": item.decays,
    }


def _options(options: Options) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in options}


def _group(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "optimizer": group.optimizer or None,
        "rule": group.rule,
        "selected_by": group.selected_by,
        "tensors": len(group.members),
        "parameters": group.numel,
        "lr": list(group.lr),
        "weight_decay": list(group.weight_decay),
        "options": [_options(options) for options in group.options],
        "written": list(group.written),
        "members": list(group.members),
    }


def _frozen(row: FrozenSet) -> dict[str, Any]:
    return {
        "rule": row.rule,
        "selected_by": row.selected_by,
        "tensors": len(row.members),
        "parameters": row.numel,
        "members": list(row.members),
    }


def _distinct(plan: Plan) -> tuple[list[Assignment], dict[int, int]]:
    """Return the different assignments of a plan by their first use, and the place of each object among them."""
    different: dict[Assignment, int] = {}
    places: dict[int, int] = {}
    for phase in plan.phases:
        for what in phase.assignments:
            if id(what) not in places:
                places[id(what)] = different.setdefault(what, len(different))
    return list(different), places


def _phase(plan: Plan, phase: Phase, places: dict[int, int]) -> dict[str, Any]:
    pairs = zip(plan.params, phase.assignments, strict=True)
    return {
        "name": phase.name,
        "trainable_parameters": phase.trainable_numel,
        "optimizer_state_bytes": phase.optimizer_state_bytes,
        "length": _length(phase.length),
        "schedule": _schedule(phase),
        "on_thaw": phase.on_thaw,
        "thawed": list(phase.thawed),
        "refrozen": list(phase.refrozen),
        "drops_state": list(phase.drops_state),
        "frozen_prefix": asdict(phase.frozen_prefix),
        "eval_modules": list(phase.eval_modules),
        "kept_in_train_mode": list(phase.kept_in_train_mode),
        "parameters": [_parameter(param, what, places[id(what)]) for param, what in pairs],
    }


def _length(length: Length) -> dict[str, Any]:
    # Written or not, it is the same run.
    found = asdict(replace(length, by_default=False))
    return {key: value for key, value in found.items() if value is not None and value is not False}


def _schedule(phase: Phase) -> dict[str, Any]:
    plan = phase.schedule
    return {"name": plan.name, "warmup": plan.warmup, **_options(plan.options), "stretch": plan.stretch}


def _parameter(param: PlannedParam, what: Assignment, place: int) -> dict[str, Any]:
    return {
        "name": param.name,
        "aliases": list(param.aliases),
        "shape": list(param.shape),
        "dtype": param.dtype,
        "layer": param.layer,
        "state": what.state,
        "lr": what.lr if what.trainable else None,
        "weight_decay": what.weight_decay if what.trainable else None,
        "decided_by": dict(what.decided),
        "no_decay": what.masked,
        "layer_decay": what.decay,
        "assignment": place,
    }


def _assignment(what: Assignment) -> dict[str, Any]:
    return {
        "state": what.state,
        "lr": what.lr,
        "weight_decay": what.weight_decay,
        "options": _options(what.options),
        "decided_by": dict(what.decided),
        "no_decay": what.masked,
        "rule": what.rule,
        "eval_mode": what.eval_mode,
        "layer_decay": what.decay,
        "rung": what.rung,
        "optimizer": what.optimizer or None,
    }
