"""What is different between two plans, from their records: pure, and by what it would change in a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]
MAIN = "that of [optimizer]"
"""What the optimizer of a tensor is called that no table of its own names."""
RATES, LENGTHS, STATE, MODEL, OPTIMIZER, PHASES = "lr", "epochs", "state", "model", "optimizer", "phases"


@dataclass(frozen=True)
class Difference:
    """One value that two plans give differently to some tensors, or to a phase, or to the run (no ``names``).

    ``kind`` says what it is about: ``lr`` (rates, weight decay, options, schedules), ``epochs`` (lengths, the
    target that ends the run), ``state`` (what trains, modes, optimizer state), ``model`` (the tensors
    themselves), ``optimizer`` (its name), ``phases`` (which there are). ``phase`` is None where it is about the
    whole run. ``before`` and ``after`` are plain JSON values.
    """

    kind: str
    phase: str | None
    what: str
    before: Any
    after: Any
    names: tuple[str, ...] = ()


def diff_records(before: Record, after: Record) -> tuple[Difference, ...]:
    """Return the differences between two plans' records, or between two comparable ones.

    These are of :func:`freezeplan.plan.document.to_record` and :func:`freezeplan.plan.comparable.comparable`. Equal
    differences of several tensors are one. Names of rules and groups, and advice, make no difference: they
    change nothing in a run. Where the phases are not the same ones, those of the same name are compared.
    """
    found = [*_of_run(before, after), *_of_tensors(before, after)]
    names = [[phase["name"] for phase in record["phases"]] for record in (before, after)]
    if names[0] != names[1]:
        found.append(Difference(PHASES, None, "phases", names[0], names[1]))
    options = [_options_by_tensor(record) for record in (before, after)]
    for index, name in enumerate(names[0]):
        if name not in names[1]:
            continue
        other = names[1].index(name)
        phases = (before["phases"][index], after["phases"][other])
        found += _of_phase(name, *phases)
        found += _of_assignments(name, *phases, options[0][index], options[1][other])
    return tuple(found)


def _of_run(before: Record, after: Record) -> Iterator[Difference]:
    old, new = before["optimizer"], after["optimizer"]
    yield from _changed(OPTIMIZER, None, "optimizer", old["name"], new["name"])
    yield from _changed(RATES, None, "base learning rate", old["lr"], new["lr"])
    yield from _changed(RATES, None, "base weight decay", old["weight_decay"], new["weight_decay"])
    if old["name"] == new["name"]:
        yield from _changed(RATES, None, "optimizer options", old["options"], new["options"])
        yield from _changed(RATES, None, "optimizer arguments", old["arguments"], new["arguments"])
    for label in dict.fromkeys([*before["optimizers"], *after["optimizers"]]):
        pair = (record["optimizers"].get(label) for record in (before, after))
        yield from _changed(OPTIMIZER, None, f"optimizer.{label}", *pair)
    yield from _by_value(OPTIMIZER, None, "optimizer", _owners(before), _owners(after))
    yield from _changed(LENGTHS, None, "stop_when", before["stop_when"], after["stop_when"])
    yield from _changed(LENGTHS, None, "score", before.get("score"), after.get("score"))
    yield from _changed(STATE, None, "freeze_when", before.get("freeze_when"), after.get("freeze_when"))


def _of_tensors(before: Record, after: Record) -> Iterator[Difference]:
    old, new = _tensors(before), _tensors(after)
    gone, added = (tuple(name for name in a if name not in b) for a, b in ((old, new), (new, old)))
    if gone:
        yield Difference(MODEL, None, "tensor", "in the model", "not there", gone)
    if added:
        yield Difference(MODEL, None, "tensor", "not there", "in the model", added)
    for what in ("shape", "dtype", "aliases"):
        yield from _by_value(MODEL, None, what, old, new)
    yield from _changed(MODEL, None, "frozen_dtype", before.get("frozen_dtype"), after.get("frozen_dtype"))


def _of_phase(name: str, old: Record, new: Record) -> Iterator[Difference]:
    yield from _changed(LENGTHS, name, "length", old["length"], new["length"])
    yield from _changed(RATES, name, "schedule", old["schedule"], new["schedule"])
    for what in ("on_thaw", "drops_state", "eval_modules", "kept_in_train_mode"):
        yield from _changed(STATE, name, what, old.get(what), new.get(what))


def _of_assignments(
    name: str, old: Record, new: Record, old_options: Record, new_options: Record
) -> Iterator[Difference]:
    before, after = _by_name(old), _by_name(new)
    yield from _by_value(STATE, name, "state", before, after)
    both = {tensor for tensor in before if tensor in after and _trains(before[tensor], after[tensor])}
    before, after = ({key: rows[key] for key in rows if key in both} for rows in (before, after))
    for what in ("lr", "weight_decay"):
        yield from _by_value(RATES, name, what, before, after)
    options = [
        {key: {"options": rows[key]} for key in rows if key in both} for rows in (old_options, new_options)
    ]
    yield from _by_value(RATES, name, "options", *options)


def _trains(old: Record, new: Record) -> bool:
    return bool(old["state"] == new["state"] == "trainable")


def _changed(kind: str, phase: str | None, what: str, old: Any, new: Any) -> Iterator[Difference]:
    if old != new:
        yield Difference(kind, phase, what, old, new)


def _by_value(kind: str, phase: str | None, what: str, old: Record, new: Record) -> Iterator[Difference]:
    """Yield one difference per pair of values, with the tensors that have it, in registration order."""
    found: dict[str, tuple[Any, Any, list[str]]] = {}
    for name, row in old.items():
        if name in new and row[what] != new[name][what]:
            pair = (row[what], new[name][what])
            found.setdefault(repr(pair), (*pair, []))[2].append(name)
    for before, after, names in found.values():
        yield Difference(kind, phase, what, before, after, tuple(names))


def _tensors(record: Record) -> dict[str, Record]:
    return _by_name(record["phases"][0])


def _by_name(phase: Record) -> dict[str, Record]:
    return {row["name"]: row for row in phase["parameters"]}


def _owners(record: Record) -> dict[str, Record]:
    """Return the optimizer of each tensor that some phase trains."""
    if "groups" in record:
        pairs = [(name, group["optimizer"]) for group in record["groups"] for name in group["members"]]
    else:
        rows = (row for phase in record["phases"] for row in phase["parameters"])
        pairs = [(row["name"], row["optimizer"]) for row in rows if row["state"] == "trainable"]
    return {name: {"optimizer": label or MAIN} for name, label in pairs}


def _options_by_tensor(record: Record) -> list[dict[str, Any]]:
    """Return, for each phase, the optimizer options of each tensor: in a comparable record those of its own."""
    if "groups" not in record:
        return [{row["name"]: row["options"] for row in phase["parameters"]} for phase in record["phases"]]
    return [
        {name: group["options"][index] for group in record["groups"] for name in group["members"]}
        for index in range(len(record["phases"]))
    ]
