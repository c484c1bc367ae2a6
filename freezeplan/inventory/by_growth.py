"""Chooses the main stacks by cause: the lists that grew when a config value was raised."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from freezeplan.inventory.candidates import Candidate, apart, outermost
from freezeplan.inventory.growth import Growth
from freezeplan.inventory.stages import Staged, in_stages
from freezeplan.inventory.structure import parent, under_any

Lists = Mapping[str, Candidate]


@dataclass(frozen=True)
class Chosen:
    """Hold one main stack before it is a record: its lists side by side, or its stages, and the evidence."""

    lists: tuple[Candidate, ...]
    evidence: tuple[str, ...] = ()
    staged: Staged | None = None
    attributes: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """The path of the stack."""
        return self.staged.path if self.staged else self.lists[0].path

    @property
    def roots(self) -> tuple[str, ...]:
        """The paths of everything that the stack takes up."""
        if self.staged:
            return tuple(path for paths in self.staged.modules for path in paths)
        return tuple(item.path for item in self.lists)


@dataclass
class Causes:
    """Hold which config values made each list grow, by the list's path."""

    lists: Lists
    growths: tuple[Growth, ...]
    of: dict[str, list[Growth]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Index the growths by path."""
        for growth in self.growths:
            for path in growth.lists:
                if path in self.lists:
                    self.of.setdefault(path, []).append(growth)

    def plain(self, path: str) -> bool:
        """Tell whether a value that plainly counts layers makes the list longer."""
        return any(growth.plain for growth in self.of.get(path, ()))


def caused(lists: Lists, growths: tuple[Growth, ...]) -> list[Chosen]:
    """Return the stacks that a plain count of layers makes longer."""
    causes = Causes(lists, growths)
    staged = _staged(causes)
    return _without_inner([*staged, *_flat(causes, staged)])


def _staged(causes: Causes) -> list[Chosen]:
    found: dict[str, Chosen] = {}
    for growth in causes.growths:
        if isinstance(growth.before, tuple) and growth.plain:
            for staged in in_stages(growth.before, growth.lists, causes.lists):
                known = found.get(staged.path)
                if known is None or _numel(known.lists) < _numel(staged.lists):
                    found[staged.path] = _of_stages(staged, growth)
    return list(found.values())


def _numel(lists: Iterable[Candidate]) -> int:
    return sum(item.numel for item in lists)


def _of_stages(staged: Staged, growth: Growth) -> Chosen:
    text = f"{growth.attribute} = {list(staged.sizes)}, blocks of {len(staged.sizes)} stages in order"
    return Chosen(staged.lists, (text, _said(growth)), staged, (growth.attribute,))


def _said(growth: Growth) -> str:
    return f"raising {growth.attribute} makes it longer"


def _flat(causes: Causes, staged: list[Chosen]) -> list[Chosen]:
    """Return the lists that a plain count lengthens, apart from those that hold or make up stages.

    A value that adds a stage counts stages; what else grows with it is no stack of layers.
    """
    taken = [root for item in staged for root in item.roots]
    groups: dict[tuple[str, tuple[str, ...]], list[Candidate]] = {}
    for path, item in causes.lists.items():
        attributes = tuple(growth.attribute for growth in causes.of.get(path, ()) if growth.plain)
        if attributes and apart(item, taken):
            groups.setdefault((parent(path), attributes), []).append(item)
    found = []
    for (_, attributes), group in groups.items():
        marked = _grown(causes, attributes, lambda item: item.marks > 0)
        stages = _grown(causes, attributes, lambda item: not apart(item, taken))
        if any(item.marks for item in group) or not (marked or stages):
            found += _side_by_side(causes, attributes, group)
    return found


def _grown(causes: Causes, attributes: tuple[str, ...], fits: Callable[[Candidate], bool]) -> bool:
    """Tell whether some fitting list grows with the same values."""
    growths = [growth for growth in causes.growths if growth.attribute in attributes]
    return any(
        fits(causes.lists[path]) for growth in growths for path in growth.lists if path in causes.lists
    )


def _side_by_side(causes: Causes, attributes: tuple[str, ...], group: list[Candidate]) -> list[Chosen]:
    """Decide between lists in one module that one value lengthens: the marked ones, or all as one stack."""
    marked = [item for item in group if item.marks]
    if not marked and any(item.norms for item in group) and len({item.length for item in group}) == 1:
        # Where the norms stand in a list of their own, no single list holds whole layers.
        return [Chosen(tuple(group), _evidence(causes, group[0]), None, attributes)]
    kept = marked or sorted(group, key=lambda item: -item.numel)[:1]
    return [Chosen((item,), _evidence(causes, item), None, attributes) for item in kept]


def _evidence(causes: Causes, item: Candidate) -> tuple[str, ...]:
    return (*item.evidence, *(_said(growth) for growth in causes.of.get(item.path, ())))


def _without_inner(chosen: list[Chosen]) -> list[Chosen]:
    """Drop what lies inside the layers of another stack."""
    layers = [path for item in chosen if not item.staged for found in item.lists for path in found.items]
    return [item for item in chosen if not under_any(item.path, layers)]


def of_parts(lists: Lists, growths: tuple[Growth, ...], layers_only: bool) -> list[Chosen]:
    """Return the outermost lists that a count of some part makes longer.

    With ``layers_only`` those whose items derive from transformers' layer base class.
    """
    causes = Causes(lists, growths)
    found = outermost(lists[path] for path in lists if path in causes.of)
    kept = [item for item in found if item.base] if layers_only else found
    return [Chosen((item,), _evidence(causes, item)) for item in kept]


def in_order(chosen: list[Chosen], lists: Lists) -> list[Chosen]:
    """Return stacks in the order in which their lists are registered."""
    place = {path: index for index, path in enumerate(lists)}
    return sorted(chosen, key=lambda item: place[item.lists[0].path])
