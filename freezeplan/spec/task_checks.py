"""Checks of a task's tables that its fields' types cannot express: its labels, its data, by its kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from freezeplan.diagnostics import Diagnostic, KeyPart
from freezeplan.diagnostics.wording import printable
from freezeplan.spec.document import Document
from freezeplan.spec.fields import misspelt
from freezeplan.spec.locations import KeyPath, at_key
from freezeplan.spec.problems import label
from freezeplan.tasks import TASK_KINDS, TaskKind
from freezeplan.tasks.kind import COMPARE

DEFAULT = "classification"
SPLITS = ("train", "validation", "test")
TEXTS = ("text", "text_pair", "text_negative")
OWN_KEYS = frozenset[str]().union(*(kind.own_keys for kind in TASK_KINDS.values()))
LANGUAGE = ("prompt", "completion", "messages")


def kind_written(task: dict[str, Any]) -> TaskKind | None:
    """Return the kind that a task's table names, None where there is no such kind."""
    name = task.get("kind", DEFAULT)
    return TASK_KINDS.get(name) if isinstance(name, str) else None


def check_task(document: Document, path: KeyPath, task: dict[str, Any]) -> Iterator[Diagnostic]:
    """Yield every problem of one task."""
    kind = kind_written(task)
    if kind is None:
        return
    yield from _labels(document, (*path, "labels"), task.get("labels"), kind)
    yield from _keys(path, task, kind)
    if isinstance(task.get("data"), dict):
        yield from _data((*path, "data"), task["data"], kind)


def _keys(path: KeyPath, task: dict[str, Any], kind: TaskKind) -> Iterator[Diagnostic]:
    for key in sorted(OWN_KEYS - kind.own_keys):
        if task.get(key) is not None:
            message = f"`{key}` has no effect on a task of kind {kind.name}"
            yield at_key((*path, key), "FP138", message, help="remove it", part=KeyPart.KEY)
    if kind.own_head:
        yield from _own_head(path, task, kind)
    if kind.compares and task.get("dropout") is not None:
        message = f"`dropout` has no effect on a task of kind {kind.name}: its head has none"
        yield at_key((*path, "dropout"), "FP138", message, help="remove it", part=KeyPart.KEY)
    if task.get("head") == COMPARE and kind.trained_head != COMPARE:
        message = f"a task of kind {kind.name} has no comparison of two vectors to train"
        advice = 'remove it, or write kind = "similarity"'
        yield at_key((*path, "head"), "FP138", message, help=advice, part=KeyPart.KEY)
    sizes = task.get("matryoshka")
    if isinstance(sizes, list) and (not sizes or len({str(size) for size in sizes}) < len(sizes)):
        message = "`matryoshka` names a size twice" if sizes else "`matryoshka` names no size"
        yield at_key((*path, "matryoshka"), "FP114", message, help="name each size once: [384, 128]")


def _own_head(path: KeyPath, task: dict[str, Any], kind: TaskKind) -> Iterator[Diagnostic]:
    if task.get("dropout") is not None:
        message = f"`dropout` has no effect on a task of kind {kind.name}: its head is the model's own"
        yield at_key((*path, "dropout"), "FP138", message, help="remove it", part=KeyPart.KEY)
    if task.get("head") == "linear":
        message = f"a task of kind {kind.name} has no linear head: it is the model's own"
        yield at_key((*path, "head"), "FP138", message, help="remove it", part=KeyPart.KEY)


def _labels(document: Document, path: KeyPath, labels: Any, kind: TaskKind) -> Iterator[Diagnostic]:
    if not isinstance(labels, list):
        return
    if not kind.takes_labels:
        why = (
            "its texts alone tell"
            if kind.most_columns == 0
            else "its outputs are the columns that `data.label` names"
        )
        message = f"a task of kind {kind.name} has no labels: {why}"
        yield at_key(path, "FP113", message, help="remove `labels`", part=KeyPart.KEY)
        return
    if len(labels) < kind.fewest:
        least = "two labels" if kind.fewest == 2 else "one label"
        message = f"a task needs at least {least}, not {len(labels)}: without there is nothing to learn"
        yield at_key(path, "FP113", message, help="list every class, or leave `labels` out")
    seen: set[str] = set()
    for place, name in document.strings(path):
        if name in seen:
            yield at_key(
                place, "FP113", f"label `{printable(name)}` stands twice", help="remove one of the two"
            )
        elif not name.strip():
            yield at_key(place, "FP113", f"{label(place)} is empty", help="give the class a name")
        seen.add(name)


def _data(path: KeyPath, data: dict[str, Any], kind: TaskKind) -> Iterator[Diagnostic]:
    if data.get("subset") is not None and data.get("hub") is None:
        message = "`subset` names a part of a hub dataset, but `hub` is not given"
        yield at_key(
            (*path, "subset"), "FP115", message, help="add `hub`, or remove `subset`", part=KeyPart.KEY
        )
    splits = [data.get(key) for key in SPLITS]
    if all(split is None for split in splits) and not any(misspelt(data, path, key) for key in SPLITS):
        message = "`data` names no rows: `train`, `validation` and `test` are all absent"
        yield at_key(path, "FP115", message, help='add `train = "…"`', part=KeyPart.HEADER)
    if kind.own_head:
        yield from _language(path, data, kind)
        return
    for key in LANGUAGE:
        if data.get(key) is not None:
            message = f"`{key}` belongs to a causal_lm task; this one is of kind {kind.name}"
            yield at_key(
                (*path, key),
                "FP115",
                message,
                help='write kind = "causal_lm", or remove it',
                part=KeyPart.KEY,
            )
    yield from _words(path, data, kind)
    yield from _texts(path, data, kind)
    if kind.compares and data.get("text_pair") is None and not misspelt(data, path, "text_pair"):
        message = (
            f"a task of kind {kind.name} compares texts, and `data` does not name the column of the second"
        )
        yield at_key(path, "FP115", message, help='write text_pair = "…"', part=KeyPart.HEADER)
    for key in TEXTS:
        if data.get(key) is not None and data.get("image") is not None:
            later = max(key, "image", key=list(data).index)
            message = f"`{key}` and `image` both name what the model reads"
            yield at_key((*path, later), "FP115", message, help="keep one of the two", part=KeyPart.KEY)
    yield from _columns(path, data, kind)


def _texts(path: KeyPath, data: dict[str, Any], kind: TaskKind) -> Iterator[Diagnostic]:
    """Yield a problem for a third text that is not read, and for a target where texts alone tell."""
    if data.get("text_negative") is not None and kind.rowwise:
        message = f"`text_negative` belongs to an embedding task; this one is of kind {kind.name}"
        advice = 'write kind = "embedding", or remove it'
        yield at_key((*path, "text_negative"), "FP115", message, help=advice, part=KeyPart.KEY)
    if data.get("label") is not None and kind.most_columns == 0:
        message = f"a task of kind {kind.name} learns from its texts alone; it has no `label`"
        advice = 'remove it; scored pairs are for kind = "similarity"'
        yield at_key((*path, "label"), "FP115", message, help=advice, part=KeyPart.KEY)


def _language(path: KeyPath, data: dict[str, Any], kind: TaskKind) -> Iterator[Diagnostic]:
    """Yield the problems of rows that a language model learns: one form of text, and nothing beside."""
    written = [key for key in data if data[key] is not None]
    for key in written:
        if key in ("text_pair", "text_negative", "image", "tokens", "tags", "label"):
            message = f"a task of kind {kind.name} learns the tokens of its texts; it has no `{key}`"
            yield at_key((*path, key), "FP115", message, help="remove it", part=KeyPart.KEY)
    forms = [key for key in written if key in ("text", "prompt", "messages")]
    for key in forms[1:]:
        message = f"`{forms[0]}` and `{key}` both name what the model reads"
        yield at_key((*path, key), "FP115", message, help="keep one of the two", part=KeyPart.KEY)
    if "completion" in written and "prompt" not in written:
        message = "`completion` follows a prompt, and `data` does not name the column of prompts"
        yield at_key((*path, "completion"), "FP115", message, help='write prompt = "…"', part=KeyPart.KEY)
    if "prompt" in written and data["prompt"] == (data.get("completion") or "completion"):
        message = f"`prompt` and `completion` are both column `{printable(data['prompt'])}`"
        yield at_key((*path, "prompt"), "FP115", message, help="name two different columns")


def _words(path: KeyPath, data: dict[str, Any], kind: TaskKind) -> Iterator[Diagnostic]:
    if not kind.reads_words:
        for key in ("tokens", "tags"):
            if data.get(key) is not None:
                message = f"`{key}` belongs to a token_classification task; this one is of kind {kind.name}"
                advice = 'write kind = "token_classification", or remove it'
                yield at_key((*path, key), "FP115", message, help=advice, part=KeyPart.KEY)
        return
    if data.get("tokens") is None and not misspelt(data, path, "tokens"):
        message = f"a {kind.name} task reads lists of words, and `data` does not name their column"
        advice = 'write tokens = "…", the column of the words, and tags = "…", that of their tags'
        yield at_key(path, "FP115", message, help=advice, part=KeyPart.HEADER)
    for key in (*TEXTS, "image", "label"):
        if data.get(key) is not None:
            message = f"a {kind.name} task reads `tokens` and learns `tags`; it has no `{key}`"
            yield at_key((*path, key), "FP115", message, help="remove it", part=KeyPart.KEY)


def _columns(path: KeyPath, data: dict[str, Any], kind: TaskKind) -> Iterator[Diagnostic]:
    given, learned = ("text" if data.get("image") is None else "image"), "label"
    if kind.reads_words:
        given, learned = "tokens", "tags"
    written = data.get(learned, learned)
    named = {data.get(given, given): given}
    for key in TEXTS[1:]:
        column = data.get(key)
        if isinstance(column, str) and column in named:
            message = f"`{named[column]}` and `{key}` are both column `{printable(column)}`"
            yield at_key((*path, key), "FP115", message, help="name two different columns")
        elif isinstance(column, str):
            named[column] = key
    if kind.most_columns == 0:
        return
    targets = written if isinstance(written, list) else [written]
    if kind.most_columns is not None and len(targets) > kind.most_columns:
        message = f"a {kind.name} task has one label column, not {len(targets)}"
        yield at_key((*path, "label"), "FP115", message, help="name one column, or give the others tasks")
    for place, target in enumerate(targets):
        if not isinstance(target, str):
            continue
        at = (*path, learned, place) if isinstance(written, list) else (*path, learned)
        if target in named:
            name = named[target]
            key = at if learned in data else (*path, name)
            message = f"`{name}` and `{learned}` are both column `{printable(target)}`"
            yield at_key(key, "FP115", message, help="name two different columns")
        elif target in targets[:place]:
            message = f"`label` names column `{printable(target)}` twice"
            yield at_key(at, "FP115", message, help="remove one of the two")
