"""A plan from its document: what ``to_record`` wrote, read back to an equal plan, or refused with the reason."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from math import prod
from typing import Any

from pydantic import TypeAdapter, ValidationError

from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import in_quotes
from freezeplan.plan.document import to_record
from freezeplan.plan.records import (
    FORMAT_VERSION,
    Assignment,
    FreezeRule,
    FrozenPrefix,
    FrozenSet,
    Group,
    Length,
    Options,
    Phase,
    PhaseSchedule,
    Plan,
    PlannedOptimizer,
    PlannedParam,
    Target,
    Weights,
)

Record = Mapping[str, Any]
STATES = ("frozen", "trainable")
UNCHECKED = ("format_version", "diagnostics")
AGAIN = "write it again: `freezeplan show SPEC --out FILE`"


def plan_from_json(text: str, name: str = "the plan") -> Plan:
    """Return the plan in a JSON text that :func:`freezeplan.plan.document.to_json` wrote.

    ``name`` is what messages call it. Raises what :func:`plan_from_record` does, for a text that is no JSON too.
    """
    return plan_from_record(record_from_json(text, name), name)


def record_from_json(text: str, name: str) -> dict[str, Any]:
    """Return the record in a JSON text, its format version checked, its contents not.

    Raises ``DiagnosticError`` (FP584, FP585).
    """
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        raise unreadable_plan(name, "it is not readable JSON") from None
    if not isinstance(record, dict) or "format_version" not in record or "phases" not in record:
        raise unreadable_plan(name, "it does not hold what `freezeplan show --format json` writes")
    check_format(record["format_version"], FORMAT_VERSION, name, "FP585", AGAIN)
    return record


def plan_from_record(record: Record, name: str = "the plan") -> Plan:
    """Return the plan that a record was made from: equal to it, advice included.

    Keys that a newer minor version added are left alone. Raises ``DiagnosticError``: FP585 for another major
    version of the format, or one that does not hold everything yet; FP584 for a record that is not whole, or in
    which two places contradict each other, as after an edit by hand.

    >>> from freezeplan.api import compile_plan
    >>> from freezeplan.inventory.records import Inventory, ParamInfo
    >>> model = Inventory("m", (ParamInfo("weight", (2, 3), "float32", ""),), ())
    >>> plan = compile_plan(model, {"rule": [{"match": "**", "state": "trainable"}]})
    >>> plan_from_record(to_record(plan)) == plan
    True
    """
    check_format(record.get("format_version"), FORMAT_VERSION, name, "FP585", AGAIN, whole=True)
    try:
        plan = _plan(record)
        fault = next(_faults(plan, record), None)
    except (KeyError, IndexError) as error:
        raise unreadable_plan(name, f"a part of it is missing ({error})") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise unreadable_plan(name, f"`{error.title}.{place}`: {first['msg'].lower()}") from None
    except (TypeError, AttributeError, ValueError):
        raise unreadable_plan(name, "it does not hold what `freezeplan show --format json` writes") from None
    if fault is not None:
        raise unreadable_plan(name, fault)
    return plan


def check_format(
    found: object, known: str, name: str, code: str, advice: str, *, whole: bool = False
) -> None:
    """Refuse a document of another major version, or with ``whole`` one of an older minor version.

    Raises ``DiagnosticError`` with the code.
    """
    major, minor = (int(part) for part in known.split("."))
    parts = found.split(".") if isinstance(found, str) else []
    numbers = [int(part) for part in parts if part.isascii() and part.isdecimal() and len(part) < 6]
    if len(parts) == len(numbers) == 2 and numbers[0] == major and (numbers[1] >= minor or not whole):
        return
    older = len(numbers) == 2 and (numbers[0], numbers[1]) < (major, minor)
    message = f"{in_quotes(name)} has format version {found!r}; this version reads {known}"
    help_text = advice if older else f"use the freezeplan that wrote it, or {advice}"
    raise DiagnosticError([diagnostic(code, message, help=help_text)])


def unreadable_plan(name: str, reason: str) -> DiagnosticError:
    """Return the error (FP584) for what is no plan, or no whole one."""
    message = f"{in_quotes(name)} cannot be read as a plan: {reason}"
    return DiagnosticError([diagnostic("FP584", message, help=AGAIN)])


def _plan(record: Record) -> Plan:
    model, rows = record["model"], record["phases"][0]["parameters"]
    assignments = _made(list[Assignment], [_assignment(row) for row in record["assignments"]])
    labelled = [("", record["optimizer"]), *record["optimizers"].items()]
    return Plan(
        model=_made(str, model["label"]),
        origin=_made(str, model["origin"]),
        base=_made(str, model["base"]),
        optimizers=tuple(_made(list[PlannedOptimizer], [_optimizer(*item) for item in labelled])),
        params=tuple(_made(list[PlannedParam], [_param(row) for row in rows])),
        phases=tuple(_phase(row, assignments) for row in record["phases"]),
        groups=tuple(_made(list[Group], [_group(row) for row in record["groups"]])),
        frozen=tuple(_made(list[FrozenSet], [_frozen(row) for row in record["frozen"]])),
        diagnostics=tuple(_made(list[Diagnostic], record["diagnostics"])),
        stop_when=_made(Target | None, record["stop_when"]),
        score=_made(Weights, tuple(record.get("score", {}).items())),
        frozen_dtype=_made(str | None, record.get("frozen_dtype")),
        freeze_when=_made(FreezeRule | None, record.get("freeze_when")),
    )


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _made(kind: Any, value: Any) -> Any:
    return _adapter(kind).validate_python(value)


def _param(row: Record) -> dict[str, Any]:
    return {
        **{key: row[key] for key in ("name", "aliases", "shape", "dtype", "layer")},
        "numel": prod(row["shape"]),
    }


def _assignment(row: Record) -> dict[str, Any]:
    return {
        **{key: row[key] for key in ("state", "lr", "weight_decay", "rule", "eval_mode", "rung")},
        "options": _options(row["options"]),
        "decided": tuple(row["decided_by"].items()),
        "masked": row["no_decay"],
        "decay": row["layer_decay"],
        "optimizer": row["optimizer"] or "",
    }


def _optimizer(label: str, row: Record) -> dict[str, Any]:
    named = {key: row[key] for key in ("name", "lr", "weight_decay", "decays")}
    options = {key: _options(row[key]) for key in ("options", "arguments")}
    return {"label": label, **named, **options}


def _options(row: Record) -> Options:
    return tuple((key, tuple(value) if isinstance(value, list) else value) for key, value in row.items())


def _group(row: Record) -> dict[str, Any]:
    same = ("name", "rule", "selected_by", "members", "lr", "weight_decay", "written")
    return {
        **{key: row[key] for key in same},
        "numel": row["parameters"],
        "options": tuple(map(_options, row["options"])),
        "optimizer": row["optimizer"] or "",
    }


def _frozen(row: Record) -> dict[str, Any]:
    return {**{key: row[key] for key in ("rule", "selected_by", "members")}, "numel": row["parameters"]}


def _phase(row: Record, assignments: list[Assignment]) -> Phase:
    places = _made(list[int], [item["assignment"] for item in row["parameters"]])
    if any(place < 0 for place in places):
        raise IndexError("assignment")
    schedule = dict(row["schedule"])
    plain = {key: schedule.pop(key) for key in ("name", "warmup", "stretch")}
    same = ("name", "optimizer_state_bytes", "on_thaw", "thawed", "refrozen", "drops_state", "eval_modules")
    values = {
        **{key: row[key] for key in (*same, "kept_in_train_mode")},
        "trainable_numel": row["trainable_parameters"],
        "assignments": tuple(assignments[place] for place in places),
        "length": _made(Length, row["length"]),
        "schedule": _made(PhaseSchedule, {**plain, "options": _options(schedule)}),
        "frozen_prefix": _made(FrozenPrefix, row["frozen_prefix"]),
    }
    return _made(Phase, values)


def _faults(plan: Plan, record: Record) -> Iterator[str]:
    """Yield what contradicts itself in a record, given the plan that was read from it."""
    for phase in plan.phases:
        for what in phase.assignments:
            if what.state not in STATES:
                yield f"a state is {what.state!r}, which is none"
    yield from _not_as_written(to_record(plan), record, "")
    yield from _partition_faults(plan)


def _not_as_written(known: Any, found: Any, path: str) -> Iterator[str]:
    """Yield where a record says something else than what would be written of the plan that it gave."""
    if isinstance(known, dict) and isinstance(found, Mapping):
        for key in known:
            if path or key not in UNCHECKED:
                yield from _not_as_written(known[key], found[key], f"{path}.{key}")
    elif isinstance(known, list) and isinstance(found, list) and len(known) == len(found):
        if known != found:
            for place, pair in enumerate(zip(known, found, strict=True)):
                yield from _not_as_written(*pair, f"{path}[{place}]")
    elif known != found:
        yield f"`{path.lstrip('.')}` does not go with the rest of it"


def _partition_faults(plan: Plan) -> Iterator[str]:
    """Yield the groups and frozen rows that are not those of the assignments."""
    numbers = {
        param.name: tuple(_numbers(phase.assignments[place]) for phase in plan.phases)
        for place, param in enumerate(plan.params)
    }
    if len(numbers) != len(plan.params):
        yield "a parameter is in it twice"
    for group in plan.groups:
        own = zip(group.lr, group.weight_decay, group.options, strict=True)
        expected = tuple((group.optimizer, *values) if values[0] is not None else None for values in own)
        for name in group.members:
            if numbers.pop(name, None) != expected:
                yield f"`{name}` does not belong into the group `{group.name}`"
    for row in plan.frozen:
        for name in row.members:
            if any(numbers.pop(name, (True,))):
                yield f"`{name}` does not belong among the frozen"
    for name in numbers:
        yield f"`{name}` is in no group"


def _numbers(what: Assignment) -> tuple[Any, ...] | None:
    return (what.optimizer, what.lr, what.weight_decay, what.options) if what.trainable else None
