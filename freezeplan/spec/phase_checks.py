"""Checks of phases, gradual unfreezing, schedules and metrics, between keys and between tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from freezeplan.diagnostics import Diagnostic, KeyPart
from freezeplan.diagnostics.wording import printable
from freezeplan.spec.checks import repeated_names
from freezeplan.spec.document import Document
from freezeplan.spec.keys import EGERIA, OF_FREEZE_RULE
from freezeplan.spec.locations import KeyPath, at_key
from freezeplan.spec.metric_checks import check_metrics
from freezeplan.spec.problems import label

LENGTHS = ("epochs", "steps", "until")
SLANTED = "slanted_triangular"


def check_phases(document: Document) -> Iterator[Diagnostic]:
    """Yield every problem of the tables that lay out the run in time."""
    yield from _exclusions(document)
    yield from repeated_names(document, "phase")
    phases = list(document.entries("phase"))
    if document.data.get("gradual") is not None:
        phases.append((("gradual",), document.table("gradual")))
    for path, phase in phases:
        yield from _length(document, path, phase)
        yield from _until(document, (*path, "until"), phase.get("until"))
    yield from _freezing(document, document.table("freeze_when"))
    yield from _schedules(document, [path for path, _ in phases])
    yield from check_metrics(document, [(*path, "until", "metric") for path, _ in phases])


def _exclusions(document: Document) -> Iterator[Diagnostic]:
    has_phases, has_gradual = bool(document.data.get("phase")), document.data.get("gradual") is not None
    has_when = document.data.get("freeze_when") is not None
    for table, given in (("gradual", has_gradual), ("freeze_when", has_when)):
        other = "[[phase]]" if has_phases else "[gradual]" if has_gradual and table != "gradual" else ""
        if given and other:
            message = f"`[{table}]` stands for phases of its own: it excludes `{other}`"
            yield at_key((table,), "FP131", message, help="keep one of the two", part=KeyPart.HEADER)
    if (has_phases or has_gradual) and document.table("train").get("epochs") is not None:
        message = "`train.epochs` has no effect: the phases say how long the run is"
        yield at_key(("train", "epochs"), "FP132", message, help="remove the key", part=KeyPart.KEY)
    has_any = has_phases or has_gradual or has_when
    if has_any and document.table("train").get("restore_best") is not None:
        message = "`train.restore_best` has no effect: each phase says whether its best epoch comes back"
        advice = (
            "remove the key: what is frozen by then would have to train again"
            if has_when
            else "write `restore_best = true` in the `until` of a phase"
        )
        yield at_key(("train", "restore_best"), "FP132", message, help=advice, part=KeyPart.KEY)


def _freezing(document: Document, table: dict[str, Any]) -> Iterator[Diagnostic]:
    rule = table.get("rule", EGERIA)
    for key, whose in OF_FREEZE_RULE.items():
        if table.get(key) is not None and rule in OF_FREEZE_RULE.values() and rule != whose:
            message = f"`{key}` belongs to the `{whose}` rule; this one is `{rule}`"
            advice = f'write rule = "{whose}", or remove the key'
            yield at_key(("freeze_when", key), "FP134", message, help=advice, part=KeyPart.KEY)


def _length(document: Document, path: KeyPath, phase: dict[str, Any]) -> Iterator[Diagnostic]:
    given = [key for key in phase if key in LENGTHS and phase[key] is not None]
    if not given:
        advice = "add `epochs = 1`, `steps = 500`, or `until = { metric = …, patience = 2, max_epochs = 10 }`"
        yield at_key(path, "FP130", f"{label(path)} has no length", help=advice, part=KeyPart.HEADER)
    elif len(given) > 1:
        message = f"`{given[0]}` and `{given[1]}` both say how long {label(path)} is"
        yield at_key((*path, given[1]), "FP130", message, help="keep one of the two", part=KeyPart.KEY)


def _until(document: Document, path: KeyPath, until: Any) -> Iterator[Diagnostic]:
    if isinstance(until, dict) and until.get("patience") is None and until.get("target") is None:
        message = "`until` has neither `patience` nor `target`: only `max_epochs` would end the phase"
        advice = "add `patience = 2`, or write `epochs` in place of `until`"
        yield at_key(path, "FP130", message, help=advice, part=KeyPart.HEADER)


def _schedules(document: Document, phases: list[KeyPath]) -> Iterator[Diagnostic]:
    base = document.table("schedule")
    yield from _schedule(document, ("schedule",), base, {})
    for path in phases:
        own = document.at((*path, "schedule"))
        if isinstance(own, dict):
            inherited = {} if "name" in own and own["name"] != base.get("name", "linear") else base
            yield from _schedule(document, (*path, "schedule"), own, inherited)


def _schedule(
    document: Document, path: KeyPath, own: dict[str, Any], inherited: dict[str, Any]
) -> Iterator[Diagnostic]:
    name = {**inherited, **own}.get("name", "linear")
    warmup = own.get("warmup")
    if isinstance(warmup, (int, float)) and warmup > 0 and name in ("constant", SLANTED):
        known = {"constant": "has no warm-up", SLANTED: "has its own rise, `cut_frac`"}
        advice = {
            "constant": 'write name = "constant_with_warmup", or warmup = 0',
            SLANTED: "remove `warmup`",
        }
        message = f"the `{name}` schedule {known[name]}"
        yield at_key((*path, "warmup"), "FP126", message, help=advice[name])
    for key in ("cut_frac", "ratio"):
        if own.get(key) is not None and name != SLANTED:
            message = f"`{key}` belongs to the `{SLANTED}` schedule; this one is `{printable(str(name))}`"
            advice = f'write name = "{SLANTED}", or remove the key'
            yield at_key((*path, key), "FP134", message, help=advice, part=KeyPart.KEY)
