"""Reads how a model itself groups its parameters: timm's ``group_matcher`` and ``no_weight_decay``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from math import inf
from typing import Any

# timm's `MATCH_PREV_GROUP`: what a pattern with this number finds goes into the group before it.
INTO_PREVIOUS = 99999
# How many parameters share a group where one of timm's models has no matcher.
CHUNK = 12
Key = tuple[float, ...]
# What no pattern finds is in the uppermost group, and in no block.
UNMATCHED: tuple[Key, str | None] = ((inf,), None)


@dataclass(frozen=True)
class Grouping:
    """Hold a model's own groups of parameters, from the bottom up.

    ``rungs`` maps each parameter's name to the number of its group, 0 at the bottom. ``blocks`` holds the paths of
    the modules that a pattern numbers, in the order of their groups: what the model calls its blocks.
    """

    rungs: Mapping[str, int]
    blocks: tuple[str, ...] = ()

    @property
    def top(self) -> int:
        """The number of the uppermost group."""
        return max(self.rungs.values())


def grouping_of(model: Any, names: Iterable[str], path: str = "") -> Grouping | None:
    """Return how a model groups its parameters, None when it says nothing of it.

    ``names`` are parameters, each tensor under its first name; those that do not lie below ``path``, where the model
    stands, are no pattern's: in the top group, with the head. The numbers are those of
    ``timm.models.group_parameters(model, model.group_matcher(coarse=False), reverse=True)``, and for a model of
    timm's without a matcher those of ``timm.optim._param_groups.auto_group_layers(model)``. Source: Wightman,
    "PyTorch Image Models", 2019 onwards,
    https://github.com/huggingface/pytorch-image-models/blob/main/timm/models/_manipulate.py

    >>> class Model:
    ...     def group_matcher(self, coarse=False):
    ...         return {"stem": "^stem", "blocks": [(r"^blocks\\.(\\d+)", None), ("^norm", (99999,))]}
    >>> found = grouping_of(Model(), ["stem.weight", "blocks.0.weight", "norm.weight", "head.weight"])
    >>> found.rungs, found.blocks
    ({'stem.weight': 0, 'blocks.0.weight': 1, 'norm.weight': 1, 'head.weight': 2}, ('blocks.0',))
    """
    names = list(names)
    if callable(getattr(model, "group_matcher", None)):
        try:
            return _matched(_asked(model, "group_matcher", coarse=False), names, path)
        except Exception:  # noqa: BLE001 - another library's matcher may be of another kind
            return None
    settings = getattr(model, "pretrained_cfg", None)
    if isinstance(settings, Mapping) and "classifier" in settings:
        return Grouping(_in_chunks(names, settings["classifier"]))
    return None


def groups_of(model: Any, names: Iterable[str], *, coarse: bool) -> list[list[str]]:
    """Return the groups of a model's trunk from the bottom up: the finest (blocks), or the coarser ones (stages).

    Left out are what the model calls its stem (the lowest group where it gives numbers alone) and what none of its
    patterns finds, the head. A model that says nothing has no groups.

    >>> class Model:
    ...     def group_matcher(self, coarse=False):
    ...         return {"stem": "^stem", "blocks": r"^layer(\\d+)" if coarse else r"^layer(\\d+)\\.(\\d+)"}
    >>> names = ["stem.weight", "layer1.0.weight", "layer1.1.weight", "head.weight"]
    >>> groups_of(Model(), names, coarse=False), groups_of(Model(), names, coarse=True)
    ([['layer1.0.weight'], ['layer1.1.weight']], [['layer1.0.weight', 'layer1.1.weight']])
    """
    matcher = _asked(model, "group_matcher", coarse=coarse)
    if not (isinstance(matcher, Mapping) or callable(matcher)):
        return []
    stems = _stems(matcher)
    try:
        asked = _asking(matcher)
        found = {name: item[0] for name in names if (item := asked(name))}
    except Exception:  # noqa: BLE001 - another library's matcher may be for other names
        return []
    numbers = _numbered(set(found.values()))
    groups: dict[int, list[str]] = {}
    for name, key in found.items():
        if key[0] != inf and key[0] not in stems:
            groups.setdefault(numbers[key], []).append(name)
    return [groups[number] for number in sorted(groups)]


def _stems(matcher: Any) -> frozenset[float]:
    if not isinstance(matcher, Mapping):
        return frozenset({0})
    return frozenset(place for place, name in enumerate(matcher) if str(name).startswith("stem"))


def undecayed_by(model: Any, names: Iterable[str], path: str = "") -> frozenset[str]:
    """Return the names that the ``no_weight_decay()`` of a model at ``path`` lists; it may use wildcards, as in timm.

    >>> class Model:
    ...     def no_weight_decay(self):
    ...         return {"pos_embed", "*.table"}
    >>> sorted(undecayed_by(Model(), ["pos_embed", "blocks.0.table", "head.weight"]))
    ['blocks.0.table', 'pos_embed']
    """
    listed = _asked(model, "no_weight_decay")
    if not isinstance(listed, (set, frozenset, list, tuple, Mapping)):
        return frozenset()
    patterns = [text for text in listed if isinstance(text, str)]
    prefix = f"{path}." if path else ""
    wanted = [prefix + pattern for pattern in patterns]
    return frozenset(name for name in names if any(fnmatch(name, pattern) for pattern in wanted))


def _asked(model: Any, method: str, **options: Any) -> Any:
    try:
        return getattr(model, method)(**options)
    except Exception:  # noqa: BLE001 - another library's method of this name raises what it likes
        return None


def _matched(matcher: Any, names: Sequence[str], path: str) -> Grouping | None:
    if not names or not (isinstance(matcher, Mapping) or callable(matcher)):
        return None
    ask, prefix = _asking(matcher), f"{path}." if path else ""
    asked = (
        (name, ask(name.removeprefix(prefix)) if name.startswith(prefix) else UNMATCHED) for name in names
    )
    found = {name: item for name, item in asked if item}
    numbers = _numbered({key for key, _ in found.values()})
    blocks = {prefix + block: numbers[key] for key, block in found.values() if block}
    ordered = tuple(sorted(blocks, key=blocks.__getitem__))
    return Grouping({name: numbers[key] for name, (key, _) in found.items()}, ordered)


def _asking(matcher: Any) -> Callable[[str], tuple[Key, str | None] | None]:
    """Return what gives a name its group's key, and the path of the block that it lies in."""
    return _by_function(matcher) if callable(matcher) else _by_patterns(_patterns(matcher))


def _by_function(matcher: Callable[[str], Any]) -> Callable[[str], tuple[Key, str | None] | None]:
    def ask(name: str) -> tuple[Key, str | None] | None:
        found = matcher(name)
        if found is None or found == (None,):
            return None
        return (tuple(found) if isinstance(found, Iterable) else (found,)), None

    return ask


@dataclass(frozen=True)
class _Pattern:
    ordinal: int
    regex: re.Pattern[str]
    suffix: Key | None = None


def _patterns(matcher: Mapping[str, Any]) -> list[_Pattern]:
    found = []
    for ordinal, spec in enumerate(matcher.values()):
        if isinstance(spec, (list, tuple)):
            found += [_Pattern(ordinal, re.compile(text), suffix) for text, suffix in spec]
        elif spec is not None:
            found.append(_Pattern(ordinal, re.compile(spec)))
    return found


def _by_patterns(patterns: Sequence[_Pattern]) -> Callable[[str], tuple[Key, str | None]]:
    def ask(name: str) -> tuple[Key, str | None]:
        for pattern in patterns:
            if found := pattern.regex.match(name):
                key = (pattern.ordinal, *map(float, filter(None, found.groups())), *(pattern.suffix or ()))
                return key, None if pattern.suffix else _block(name, found)
        return UNMATCHED

    return ask


def _block(name: str, found: re.Match[str]) -> str | None:
    """Return the module whose name ends in the last number that the pattern caught."""
    ends = [found.end(group) for group in range(1, found.re.groups + 1) if found[group]]
    return name[: name.find(".", max(ends))] if ends and "." in name[max(ends) :] else None


def _numbered(keys: Iterable[Key]) -> dict[Key, int]:
    numbers: dict[Key, int] = {}
    number = -1
    for key in sorted(keys):
        if number < 0 or key[-1] != INTO_PREVIOUS:
            number += 1
        numbers[key] = number
    return numbers


def _in_chunks(names: Sequence[str], heads: Any) -> dict[str, int]:
    """Number chunks of the trunk's parameters, and above them the heads."""
    prefixes = (heads,) if isinstance(heads, str) else tuple(heads or ("",))
    trunk = [name for name in names if not any(name.startswith(prefix) for prefix in prefixes)]
    rungs = {name: index // CHUNK for index, name in enumerate(trunk)}
    top = -(len(trunk) // -CHUNK)
    return {name: rungs.get(name, top) for name in names}
