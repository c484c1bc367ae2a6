"""Asks a model's own code which lists of modules a config value makes longer: raise it, rebuild, compare."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from freezeplan.inventory.layer_counts import Count, as_count, counts_something, is_plain_count
from freezeplan.inventory.names import join

Lengths = Mapping[str, int]
NONE: Mapping[int, int] = {}


@dataclass(frozen=True)
class Growth:
    """Say that raising the config value ``attribute`` by one made lists of modules longer.

    ``attribute`` is dotted from the root's config, ``before`` its value (one number, one per stage, or the
    length of a list of names), ``lists`` the paths of the lists that grew, in registration order.
    """

    attribute: str
    before: Count
    lists: tuple[str, ...]

    @property
    def plain(self) -> bool:
        """Whether the attribute counts layers without saying of which part."""
        return is_plain_count(self.attribute.rpartition(".")[2])


@dataclass(frozen=True)
class Rebuilder:
    """Rebuild one live model of transformers, found at ``path``, with changed configs on the meta device."""

    path: str
    model: Any

    def growths(self, lengths: Iterable[int], clear: Mapping[int, int] = NONE) -> tuple[Growth, ...]:
        """Return what each config value that may count one of these lengths makes longer.

        Values that plainly count layers are always tried, others when they equal one of ``lengths``; configs
        in ``clear`` (by identity) are not asked about the count given there. A value that the model's code
        refuses to be raised is lowered instead; one that it refuses both ways is left out.
        """
        before, wanted = list_lengths(self.model), set(lengths)
        places = [place for place in _places(self.model.config, clear) if _may_count(place, wanted)]
        return tuple(growth for place in places if (growth := self._growth(place, before)))

    def _growth(self, place: CountPlace, before: Lengths) -> Growth | None:
        for step in (1, -1):
            built = False
            # Lists with one entry per layer may have to follow, but must not when they only happen to be as long.
            for follow in (False, True):
                after = _rebuilt(self.model, place, step, follow)
                built = built or after is not None
                changed = _longer(before, after or {}, step)
                if after is not None and changed:
                    paths = tuple(join(self.path, path) if path else self.path for path in changed)
                    return Growth(".".join((*place.owner, place.name)), place.count, paths)
            if built:
                return None
        return None


def _longer(before: Lengths, after: Lengths, step: int) -> list[str]:
    return [path for path, length in before.items() if (after.get(path, 0) - length) * step > 0]


@dataclass(frozen=True)
class CountPlace:
    """Hold where a value stands: the attributes that lead to its config, its name, and what it counts."""

    owner: tuple[str, ...]
    name: str
    count: Count
    names: bool = False


def list_lengths(module: Any) -> dict[str, int]:
    """Return how many numbered children each module has, those without any left out."""
    found = {}
    for path, item in module.named_modules():
        length = sum(name.isdecimal() for name in item._modules)
        if length:
            found[path] = length
    return found


def _places(
    config: Any, clear: Mapping[int, int], owner: tuple[str, ...] = (), above: tuple[int, ...] = ()
) -> Iterator[CountPlace]:
    for name, value in vars(config).items():
        if name.startswith("_"):
            continue
        if hasattr(value, "to_diff_dict"):
            if id(value) not in above:
                yield from _places(value, clear, (*owner, name), (*above, id(config)))
        elif counts_something(name):
            known = clear.get(id(config))
            yield from (place for place in _place(owner, name, value) if place.count != known)


def _place(owner: tuple[str, ...], name: str, value: Any) -> Iterator[CountPlace]:
    count = as_count(value)
    if count is not None:
        yield CountPlace(owner, name, count)
    elif isinstance(value, (list, tuple)) and value and all(isinstance(item, str) for item in value):
        yield CountPlace(owner, name, len(value), names=True)


def _may_count(place: CountPlace, lengths: set[int]) -> bool:
    if is_plain_count(place.name):
        return True
    count = place.count
    return bool(lengths.intersection(count)) if isinstance(count, tuple) else count in lengths


def _rebuilt(model: Any, place: CountPlace, step: int, follow: bool) -> Lengths | None:
    """Return the lengths of the lists after a change; None when the model's code cannot be built with it."""
    import torch

    from freezeplan.outside.quiet import quiet

    try:
        config = copy.deepcopy(model.config)
        if not set_count(config, place, step, follow):
            return None
        with quiet(), torch.random.fork_rng(devices=[]), torch.device("meta"):
            return list_lengths(type(model)._from_config(config))
    except Exception:  # noqa: BLE001 - any failure only means that the question has no answer
        return None


def set_count(config: Any, place: CountPlace, step: int, follow: bool) -> bool:
    """Change one count of a config in place; ``follow``: and lists beside it with one entry per counted thing.

    Returns whether there was anything to change that way.
    """
    for name in place.owner:
        config = getattr(config, name)
    lists = _as_long(config, place.count) if follow else {}
    if place.names == (not follow) or (follow and not lists):
        return False
    for name, value in lists.items():
        setattr(config, name, value + value[-1:] if step > 0 else value[:-1])
    if not place.names:
        setattr(config, place.name, _stepped(getattr(config, place.name), step))
    return True


def _stepped(value: Any, step: int) -> Any:
    return value + step if isinstance(value, int) else type(value)(item + step for item in value)


def _as_long(config: Any, count: Count) -> dict[str, Any]:
    values = vars(config).items() if isinstance(count, int) else ()
    return {
        name: list_ for name, list_ in values if isinstance(list_, (list, tuple)) and len(list_) == count > 0
    }
