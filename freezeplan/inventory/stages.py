"""Groups lists of blocks into stages: a model whose config counts blocks per stage."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from freezeplan.inventory.candidates import Candidate
from freezeplan.inventory.structure import as_index, is_under, last, parent

LAST_NUMBER = re.compile(r"\.?\d+(?=\D*$)")


@dataclass(frozen=True)
class Staged:
    """Hold the blocks of several stages in order: ``lists`` has one candidate per stage.

    ``modules`` are the paths of each stage's modules. A flat list that is cut into stages only by the
    config has one candidate and as many ``sizes`` as stages.
    """

    path: str
    lists: tuple[Candidate, ...]
    modules: tuple[tuple[str, ...], ...]
    sizes: tuple[int, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The paths of all blocks in order."""
        return tuple(item for found in self.lists for item in found.items)


def in_stages(
    sizes: tuple[int, ...], paths: Sequence[str], lists: Mapping[str, Candidate]
) -> tuple[Staged, ...]:
    """Group the lists at ``paths`` by stages of these sizes; lists that fit no group are left out."""
    groups: dict[str, list[str]] = {}
    for path in paths:
        if path in lists:
            groups.setdefault(_template(path), []).append(path)
    whole = [group for group in groups.values() if len(group) in (len(sizes), _filled(sizes))]
    rest = [path for group in groups.values() if group not in whole for path in group]
    chunks = [rest[start : start + len(sizes)] for start in range(0, len(rest), len(sizes))]
    flat = [path for path in rest if lists[path].length == sum(sizes)]
    if flat:
        return tuple(_flat(lists[path], sizes) for path in flat)
    whole += [chunk for chunk in chunks if len(chunk) == len(sizes)]
    return tuple(_staged([lists[path] for path in group], lists) for group in whole)


def _filled(sizes: tuple[int, ...]) -> int:
    return sum(size > 0 for size in sizes)


def _template(path: str) -> str:
    """Return the path with its last number taken out, so that lists of sibling stages look alike."""
    return LAST_NUMBER.sub(".*", path, count=1)


def _flat(found: Candidate, sizes: tuple[int, ...]) -> Staged:
    ends = list(accumulate(sizes))
    cut = [found.items[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    return Staged(found.path, (found,), tuple(cut), sizes)


def _staged(group: list[Candidate], lists: Mapping[str, Candidate]) -> Staged:
    path = _common([item.path for item in group])
    roots = [_stage(path, item.path) for item in group]
    modules = tuple((root, *_beside(root, len(roots), lists, path)) for root in roots)
    return Staged(path, tuple(group), modules, tuple(item.length for item in group))


def _common(paths: list[str]) -> str:
    """Return the deepest module that holds all stages; of a single stage, the list that it is in."""
    if len(paths) == 1:
        return _template(paths[0]).partition(".*")[0]
    split = [path.split(".") for path in paths]
    same = [parts[0] for parts in zip(*split, strict=False) if len(set(parts)) == 1]
    place = next((at for at, parts in enumerate(zip(*split, strict=False)) if len(set(parts)) > 1), len(same))
    return ".".join(split[0][:place])


def _stage(root: str, path: str) -> str:
    """Return the module of a stage: below ``root``, down to the first number (or by one, without any)."""
    rest = path[len(root) :].lstrip(".").split(".")
    numbers = [place for place, part in enumerate(rest) if as_index(part) is not None]
    kept = rest[: numbers[0] + 1] if numbers else rest[:1]
    return ".".join(part for part in (root, *kept) if part)


def _beside(stage: str, stages: int, lists: Mapping[str, Candidate], root: str) -> list[str]:
    """Return what stands at a stage's number in lists beside the list of stages: its other modules."""
    home, number = parent(stage), as_index(last(stage))
    if number is None:
        return []
    beside = [item for item in lists.values() if item.path != home and parent(item.path) == parent(home)]
    inside = [item for item in beside if item.length == stages and is_under(item.path, parent(root))]
    return [item.items[number] for item in inside if number < stages]
