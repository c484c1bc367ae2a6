"""Checks that pydantic's field types cannot express: between keys, between entries, of names.

They run on the merged data as it was written, whatever its types, so that one run reports these problems
together with those of types and keys.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

from freezeplan.diagnostics import Diagnostic, KeyPart
from freezeplan.diagnostics.wording import closest, printable, quoted
from freezeplan.spec.document import Document, written
from freezeplan.spec.entries import cancelled_matches, repeated_entries
from freezeplan.spec.head_checks import check_heads
from freezeplan.spec.locations import KeyPath, at_key
from freezeplan.spec.mixing_checks import check_mixing
from freezeplan.spec.optimizer_checks import check_optimizers
from freezeplan.spec.problems import label
from freezeplan.spec.requirements import check_requirements
from freezeplan.spec.streams import check_streams
from freezeplan.spec.task_checks import check_task
from freezeplan.spec.whole_batches import check_whole_batches

NO_DECAY = "no_decay"
NOT_PROPERTIES = frozenset({"name", "match", "except", "expect", "optional", "override"})
WRITTEN_TWO_WAYS = {"lr": "learning rate", "weight_decay": "weight decay"}
INT_LIMIT = 1 << 63
NEARBY = 200


def check_all(document: Document) -> Iterator[Diagnostic]:
    """Yield every problem that the checks of this module find, table by table."""
    yield from check_requirements(document)
    yield from _model(document)
    yield from repeated_entries(document, ("optimizer", "no_decay"))
    yield from check_optimizers(document)
    for layer in rule_layers(document):
        yield from _rules(document, layer)
    yield from _tasks(document)
    yield from check_whole_batches(document)
    yield from check_heads(document)
    yield from _store(document)
    yield from check_streams(document)
    yield from check_mixing(document)


def check_values(document: Document) -> Iterator[Diagnostic]:
    """Yield a problem for every value that no spec can hold: integers beyond 64 bits, broken Unicode."""
    for path, value in _leaves(document.data, ()):
        if isinstance(value, int) and not -INT_LIMIT <= value < INT_LIMIT:
            yield at_key(path, "FP008", f"{label(path)} is beyond the 64 bits of a TOML integer")
        if isinstance(value, str) and _is_broken(value):
            yield at_key(path, "FP104", f"{label(path)} holds half of a surrogate pair")


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    items = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    )
    if items is None:
        yield path, value
        return
    for key, item in items:
        yield from _leaves(item, (*path, key))


def _is_broken(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text) if not text.isascii() else False


def _model(document: Document) -> Iterator[Diagnostic]:
    model = document.table("model")
    config = model.get("config")
    if config is not None and model.get("architecture") is not None:
        message = "`architecture` and `config` both say what the model is built from"
        yield at_key(("model", "config"), "FP116", message, help="keep one of the two", part=KeyPart.KEY)
    if isinstance(config, dict) and not isinstance(config.get("model_type"), str):
        advice = 'add the model type, for example `model_type = "bert"`'
        yield at_key(
            ("model", "config"), "FP117", "`config` has no `model_type`", help=advice, part=KeyPart.HEADER
        )
    if model.get("class") is not None and document.data.get("task"):
        message = (
            "`class` has no effect in a spec with tasks: its model is the backbone plus one head per task"
        )
        yield at_key(
            ("model", "class"), "FP119", message, help="remove `class`, or the tasks", part=KeyPart.KEY
        )
    if model.get("frozen_dtype") is not None and model.get("dtype") in ("bfloat16", "float16"):
        message = f"`frozen_dtype` has no effect: `dtype` keeps all weights in {model['dtype']}"
        yield at_key(
            ("model", "frozen_dtype"), "FP135", message, help="keep one of the two", part=KeyPart.KEY
        )
    for path, value in _leaves(config, ("model", "config")) if isinstance(config, dict) else ():
        if isinstance(value, (datetime.date, datetime.time)):
            yield at_key(
                path,
                "FP103",
                f"{label(path)} is a date, which a model config cannot hold",
                help="put it in quotes",
            )


def rule_layers(document: Document) -> Iterator[KeyPath]:
    """Yield the paths of the arrays of rules: the base layer's, then each phase's."""
    yield ("rule",)
    for path, _ in document.entries("phase"):
        yield (*path, "rule")


def _rules(document: Document, layer: KeyPath) -> Iterator[Diagnostic]:
    rules = list(document.entries(*layer))
    names = [_label(document, path, rule) for path, rule in rules]
    first = {name: index for index, name in reversed(list(enumerate(names)))}
    for index, (path, rule) in enumerate(rules):
        yield from _rule_rates(document, path, rule)
        yield from _rule_decay(document, path, rule)
        yield from _rule_effect(document, path, rule)
        yield from _rule_name(document, path, rule)
        yield from _overrides(document, path, index, names, first)
        for key in ("match", "except", "override"):
            yield from repeated_entries(document, (*path, key))
        yield from cancelled_matches(document, path)
        if rule.get("expect") == {}:
            message = "`expect` states neither `tensors` nor `parameters`"
            yield at_key(
                (*path, "expect"),
                "FP102",
                message,
                help="write `expect = { tensors = 4 }`",
                part=KeyPart.HEADER,
            )
    yield from repeated_names(document, *layer)


def _store(document: Document) -> Iterator[Diagnostic]:
    train = document.data.get("train")
    if isinstance(train, dict) and train.get("store") == "off":
        for key in ("store_dtype", "store_budget"):
            if train.get(key) is not None:
                message = f'`{key}` has no effect: `store = "off"`'
                advice = 'remove it, or write store = "auto"'
                yield at_key(("train", key), "FP135", message, help=advice, part=KeyPart.KEY)


def _rule_rates(document: Document, path: KeyPath, rule: dict[str, Any]) -> Iterator[Diagnostic]:
    for absolute, what in WRITTEN_TWO_WAYS.items():
        keys = (absolute, f"{absolute}_mult")
        if all(rule.get(key) is not None for key in keys):
            message = f"`{keys[0]}` and `{keys[1]}` both set the {what}"
            advice = f"keep one: `{keys[0]}` is absolute, `{keys[1]}` a factor"
            later = max(keys, key=list(rule).index)
            yield at_key((*path, later), "FP106", message, help=advice, part=KeyPart.KEY)


def _rule_decay(document: Document, path: KeyPath, rule: dict[str, Any]) -> Iterator[Diagnostic]:
    decay = rule.get("layer_decay")
    if isinstance(decay, dict) and decay.get("rate") is None and decay.get("formula") not in (None, "ulmfit"):
        message = "`layer_decay` has no `rate`"
        place = (*path, "layer_decay")
        yield at_key(place, "FP102", message, help="add one, such as `rate = 0.8`", part=KeyPart.HEADER)


def _rule_effect(document: Document, path: KeyPath, rule: dict[str, Any]) -> Iterator[Diagnostic]:
    keys = {key for key, value in rule.items() if value is not None}
    # With an unknown key the rule meant to set something; that key is the problem to report.
    if keys <= NOT_PROPERTIES and "match" in keys:
        message = "this rule sets no property: it decides nothing"
        advice = "add `state`, `lr`, `lr_mult`, a weight decay or an optimizer option, or remove the rule"
        yield at_key(path, "FP107", message, help=advice, part=KeyPart.HEADER)
    if rule.get("eval_mode") is not None and rule.get("state") == "trainable":
        message = "`eval_mode` is about frozen modules; this rule makes its parameters trainable"
        yield at_key((*path, "eval_mode"), "FP118", message, help="remove `eval_mode`", part=KeyPart.KEY)


def _rule_name(document: Document, path: KeyPath, rule: dict[str, Any]) -> Iterator[Diagnostic]:
    name = rule.get("name")
    if name == NO_DECAY:
        message = "a rule cannot be called `no_decay`: `override` means the weight-decay mask by it"
        yield at_key((*path, "name"), "FP108", message, help="choose another name")
    elif isinstance(name, str) and (not name.strip() or not name.isprintable()):
        message = f"{written(name)} is not a name that can be shown"
        yield at_key((*path, "name"), "FP108", message, help="use printable characters, or leave `name` out")


def _overrides(
    document: Document, path: KeyPath, index: int, names: list[str], first: dict[str, int]
) -> Iterator[Diagnostic]:
    for place, entry in document.strings((*path, "override")):
        if entry == NO_DECAY or first.get(entry, index) < index:
            continue
        if entry == names[index]:
            advice = _earlier(names[max(0, index - NEARBY) : index])
            yield at_key(place, "FP112", "a rule cannot override itself", help=advice)
        elif entry in first:
            message = f"rule `{printable(entry)}` comes after this one: `override` names earlier rules"
            yield at_key(place, "FP112", message, help="move this rule below it")
        else:
            message = f"there is no rule `{printable(entry)}` before this one"
            yield at_key(place, "FP111", message, help=_guess(entry, names[max(0, index - NEARBY) : index]))


def _label(document: Document, path: KeyPath, rule: dict[str, Any]) -> str:
    name = rule.get("name")
    return (
        name if isinstance(name, str) else ", ".join(text for _, text in document.strings((*path, "match")))
    )


def _guess(entry: str, names: list[str]) -> str:
    return closest(entry, [*names, NO_DECAY]) or _earlier(names)


def _earlier(names: list[str]) -> str:
    if not names:
        return "no rule stands before this one"
    return f"earlier rules: {quoted(printable(name) for name in names[-8:])}"


def repeated_names(document: Document, *array: str | int) -> Iterator[Diagnostic]:
    """Yield a problem for each entry of an array that has the name of one before it."""
    first: dict[str, KeyPath] = {}
    for path, entry in document.entries(*array):
        name = entry.get("name")
        if not isinstance(name, str):
            continue
        if name in first:
            message = f"two {array[-1]}s are called `{printable(name)}`"
            notes = [f"the first is at {document.line_of((*first[name], 'name'))}"]
            yield at_key((*path, "name"), "FP109", message, help="rename one of them", notes=notes)
        first.setdefault(name, path)


def _tasks(document: Document) -> Iterator[Diagnostic]:
    for path, task in document.entries("task"):
        yield from check_task(document, path, task)
    yield from repeated_names(document, "task")
