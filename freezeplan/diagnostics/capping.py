"""A flood of alike findings says no more than its first: twenty are kept, and the rest is counted."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace

from freezeplan.diagnostics.diagnostic import Diagnostic

MOST_ALIKE = 20
# What differs between alike messages: what is quoted, numbers, and what stands in parentheses.
OWN = re.compile(r"`[^`]*`|\"[^\"]*\"|'[^']*'|\([^()]*\)|\d[\d,.]*(?:e[-+]?\d+)?")


@dataclass
class Flood:
    """Keep the first twenty findings of each kind; for those beyond there is no room, and they are counted."""

    _kept: list[Diagnostic] = field(default_factory=list)
    _places: dict[Hashable, list[int]] = field(default_factory=dict)
    _more: dict[Hashable, int] = field(default_factory=dict)

    def has_room(self, kind: Hashable) -> bool:
        """Tell whether another finding of the kind would be kept."""
        return len(self._places.get(kind, ())) < MOST_ALIKE

    def add(self, kind: Hashable, item: Diagnostic) -> None:
        """Take in a finding for which there is room."""
        self._places.setdefault(kind, []).append(len(self._kept))
        self._kept.append(replace(item, more=0) if item.more else item)
        self.count(kind, item.more)

    def take(self, kind: Hashable, make: Callable[[], Diagnostic]) -> None:
        """Take in a finding, which is made only where there is room for it."""
        if self.has_room(kind):
            self.add(kind, make())
        else:
            self.count(kind, 1)

    def count(self, kind: Hashable, number: int) -> None:
        """Count findings of a kind that are not kept."""
        if number:
            self._more[kind] = self._more.get(kind, 0) + number

    def findings(self) -> list[Diagnostic]:
        """Return what was kept, in order; the last of each kind says how many alike were left out."""
        found = list(self._kept)
        for kind, number in self._more.items():
            last = self._places[kind][-1]
            found[last] = replace(found[last], more=number)
        return found


def capped(items: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Return the first twenty of alike diagnostics; the last of them says in ``more`` how many were left out.

    Alike are those with one code and one message, but for names, numbers and what stands in parentheses.

    >>> from freezeplan.diagnostics import diagnostic
    >>> many = [diagnostic("FP201", f"pattern `{name}` matches no parameter") for name in range(30)]
    >>> len(capped(many)), capped(many)[-1].more, capped(capped(many)) == capped(many)
    (20, 10, True)
    """
    flood = Flood()
    for item in items:
        kind = (item.code, OWN.sub("", item.message))
        if flood.has_room(kind):
            flood.add(kind, item)
        else:
            flood.count(kind, 1 + item.more)
    return tuple(flood.findings())
