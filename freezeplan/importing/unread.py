"""What of a config nobody has read: said at the top of the spec, or refused where it may change what trains."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from typing import Any

from freezeplan.diagnostics import DiagnosticError
from freezeplan.importing.config_file import ConfigFile, Unknown
from freezeplan.spec.locations import KeyPath, dotted

# A key is taken apart into its words: `freezeVisionTower` and `freeze-vision-tower` have the same.
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
FREEZES = {"freeze", "freezes", "freezing", "frozen", "freezed", "unfreeze", "unfreezing", "unfrozen", "thaw"}
PHRASES = {
    ("norm", "eval"),
    ("bn", "eval"),
    ("no", "grad"),
    ("stop", "grad"),
    ("lock", "image"),
    ("lock", "text"),
    ("tune",),
}
TRAINS = {("trainable",), ("requires", "grad"), ("train", "parameters"), ("tunable",)}
RATES = {("lr",), ("lrs",), ("learning", "rate"), ("learning", "rates"), ("layer", "decay"), ("llrd",)}
DECAYS = {("weight", "decay"), ("wd",), ("decay", "mult")}
SCHEDULES = {
    "sched", "scheduler", "schedulers", "schedule", "warmup", "min", "max", "end", "final", "noise", "cycle", "monitor",
    "policy", "patience", "milestones", "style", "iters", "finder", "cooldown", "logger", "logging", "log",
}  # fmt: skip
# What is about data, or about a model that is not the one trained.
OTHERS = {"teacher", "ref", "reference", "reward", "ema", "dataset", "datasets", "dataloader", "data"}
NAMES = ("type", "_target_", "class_path", "name", "constructor")
FREEZING_NAME = re.compile(r"(?i)freez|frozen|thaw|layer_?(wise_?)?(lr_?)?decay|lr_?mult")
NOTHING = {"", "none", "null", "false", "no", "off", "0", "-1", "auto"}
COUNTS = {"stages", "stage", "layers", "layer", "blocks"}


def unread(config: ConfigFile) -> list[KeyPath]:
    """Return the places of the values that were never asked for, in the order of the config."""
    return [path for path, _ in _leaves(config.data, ()) if not _was_read(config, path)]


def _was_read(config: ConfigFile, path: KeyPath) -> bool:
    return path in config.read or (isinstance(path[-1], int) and path[:-1] in config.read)


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    """Yield what is no table; a list that holds no table is one value."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list) and any(isinstance(item, (Mapping, list)) for item in value):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    elif path:
        yield path, value


def refuse_unread(config: ConfigFile) -> None:
    """Refuse the first value that nobody has read and that may change what trains, or at what rate (FP193)."""
    for path in unread(config):
        if why := _may_change(path, config.peek(*path)):
            message = f"`{dotted(path)}` cannot be imported: {why}, and is not restated here"
            raise DiagnosticError(
                [config.finding(path, "FP193", message, "take it out, and add a rule by hand")]
            )


def _may_change(path: KeyPath, value: Any) -> str | None:
    """Return what a setting may change, judged by its name and value; None for nothing."""
    own, above = _words(path[-1:]), _words(path[:-1])
    if set(own) & OTHERS or set(above) & (OTHERS | SCHEDULES):
        return None
    if set(above) & FREEZES:
        own = [*above, *own]
    if path[-1] in NAMES and isinstance(value, str) and FREEZING_NAME.search(value):
        return f"`{value}` may freeze or scale parts of the model"
    judges: tuple[tuple[Callable[[list[str], Any], bool], str], ...] = (
        (_freezes, "it may freeze parts of the model"),
        (_trains, "it may say what trains"),
        (_scales, "it may change rates or weight decay"),
    )
    return next((why for judge, why in judges if judge(own, value)), None)


def _words(path: KeyPath) -> list[str]:
    return [word.lower() for part in path if isinstance(part, str) for word in WORDS.findall(part)]


def _holds(words: list[str], phrases: set[tuple[str, ...]]) -> bool:
    return any(
        tuple(words[at : at + len(phrase)]) == phrase for phrase in phrases for at in range(len(words))
    )


def _freezes(words: list[str], value: Any) -> bool:
    return bool(set(words) & FREEZES or _holds(words, PHRASES)) and _is_something(value, words)


def _trains(words: list[str], value: Any) -> bool:
    """Tell whether a switch is set that lets things train; on is what holds without it."""
    return _holds(words, TRAINS) and value is not True and value not in (None, "", [])


def _scales(words: list[str], value: Any) -> bool:
    return _holds(words, RATES | DECAYS) and not set(words) & SCHEDULES and _is_something(value, words)


def _is_something(value: Any, words: list[str]) -> bool:
    if isinstance(value, Unknown):
        return True
    if isinstance(value, str):
        return value.strip().lower() not in NOTHING
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value > 0 or (value == 0 and bool(set(words) & COUNTS))
    return bool(value)


def not_taken_over(config: ConfigFile) -> list[str]:
    """Return the settings that nobody has read, each table by its own name where nothing in it was read."""
    left = unread(config)
    read = [path for path, _ in _leaves(config.data, ()) if _was_read(config, path)]
    names = (dotted(_outermost(path, read)) for path in left)
    return list(dict.fromkeys(names))


def _outermost(path: KeyPath, read: list[KeyPath]) -> KeyPath:
    """Return the shortest beginning of a path below which nothing was read."""
    shared = max((len(list(takewhile(bool, map(_same, path, other)))) for other in read), default=0)
    return path[: shared + 1]


def _same(one: str | int, other: str | int) -> bool:
    return one == other
