"""What changed between two plans for a person to read: by module, over phases, with the rules on both sides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from freezeplan.plan.diff import LENGTHS, MODEL, OPTIMIZER, PHASES, RATES, STATE, Difference, diff_records
from freezeplan.plan.gathering import gathered
from freezeplan.plan.renames import Renamed, find_renames, moved_paths, outside

Record = Mapping[str, Any]
Rows = Mapping[str, Record]
ADDED, REMOVED, TIED, UNTIED = "added", "removed", "tied", "untied"
# Which properties of a rule decide what is compared, the first that was decided; else the group's rule.
DECIDERS = {"lr": ("lr", "layer_decay"), "weight_decay": ("weight_decay",), "state": ("state",)}
ORDER = (MODEL, PHASES, OPTIMIZER, LENGTHS, STATE, RATES)
MODULES = ("eval_modules", "kept_in_train_mode")
ANY_PHASE = "any phase"
WITHOUT_RULE = ("shape", "dtype", "aliases")


@dataclass(frozen=True)
class Change:
    """One thing that two plans do differently.

    ``kind`` and ``what`` are those of a :class:`freezeplan.plan.diff.Difference`, or ``added``, ``removed``,
    ``tied`` and ``untied`` tensors. ``phases`` are empty where it is about the whole run or every phase.
    ``rules`` are those responsible before and after (None: no rule, or not known). ``names`` are the tensors,
    ``where`` the patterns that select them; both are empty where it is about no tensors.
    """

    kind: str
    what: str
    phases: tuple[str, ...]
    before: Any
    after: Any
    rules: tuple[str | None, str | None] = (None, None)
    names: tuple[str, ...] = ()
    where: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Hold what two plans do differently: parts of names that were renamed, then everything else."""

    renamed: tuple[Renamed, ...]
    changes: tuple[Change, ...]

    @property
    def count(self) -> int:
        """How many changes there are, a renaming being one."""
        return len(self.renamed) + len(self.changes)


def compare(before: Record, after: Record) -> Comparison:
    """Compare two plans by their comparable records (see :func:`freezeplan.plan.comparable.comparable`).

    Tensors that have other names only are compared under the names of ``after``. Names of rules and groups, and
    advice, make no difference.
    """
    old, new = _tensors(before), _tensors(after)
    gone, added = _only(old, new), _only(new, old)
    renamed = find_renames(gone, added) if gone and added else ()
    sides = _Sides(_with_names(before, renamed), _without_inner(after, renamed))
    changes = [change for item in sides.differences() for change in sides.changes(item)]
    ordered = sorted(_over_phases(changes, sides.phases), key=_rank)
    return Comparison(renamed, tuple(ordered))


def _rank(item: Change) -> tuple[int, bool]:
    """Return what a change is sorted by: the model first, what follows from the rest last."""
    return ORDER.index(item.kind), item.what in MODULES


def _tensors(record: Record) -> dict[str, Record]:
    return {row["name"]: row for row in record["phases"][0]["parameters"]}


def _only(rows: Rows, others: Rows) -> dict[str, Record]:
    return {name: row for name, row in rows.items() if name not in others}


def _with_names(record: Record, renamed: Sequence[Renamed]) -> Record:
    """Return a record with the new names of its tensors and modules."""
    if not renamed:
        return record
    names = {old: new for item in renamed for old, new in item.names.items()}
    return {**record, "phases": [_renamed_phase(phase, names, renamed) for phase in record["phases"]]}


def _renamed_phase(phase: Record, names: Mapping[str, str], renamed: Sequence[Renamed]) -> dict[str, Any]:
    rows = [
        {
            **row,
            "name": names.get(row["name"], row["name"]),
            "aliases": [names.get(name, name) for name in row["aliases"]],
        }
        for row in phase["parameters"]
    ]
    modules = {key: moved_paths(phase[key], renamed) for key in MODULES}
    return {**phase, **modules, "parameters": rows}


def _without_inner(record: Record, renamed: Sequence[Renamed]) -> Record:
    """Return a record without the modules inside a part of names that is new."""
    if not renamed:
        return record
    inside = [(item.prefix, item.after, not item.before) for item in renamed]
    phases = [
        {**phase, **{key: outside(phase[key], inside) for key in MODULES}} for phase in record["phases"]
    ]
    return {**record, "phases": phases}


def _as_one_phase(record: Record) -> dict[str, Any]:
    """Return a record with one phase, in which each tensor has what it had when it last trained."""
    found: dict[str, Record] = {}
    for phase in record["phases"]:
        for row in phase["parameters"]:
            if row["name"] not in found or row["state"] == "trainable":
                found[row["name"]] = row
    whole = {**record["phases"][-1], "name": ANY_PHASE, "parameters": list(found.values())}
    return {**record, "phases": [whole]}


@dataclass(frozen=True)
class _Sides:
    before: Record
    after: Record

    @cached_property
    def phases(self) -> tuple[str, ...]:
        """The phases that both sides have."""
        names = [[phase["name"] for phase in side["phases"]] for side in (self.before, self.after)]
        return tuple(name for name in names[0] if name in names[1])

    @cached_property
    def tensors(self) -> tuple[Rows, Rows]:
        return _tensors(self.before), _tensors(self.after)

    @cached_property
    def last(self) -> tuple[Rows, Rows]:
        """The rows of the last phase on each side."""
        return tuple(self.rows(side, side["phases"][-1]["name"]) for side in (self.before, self.after))

    @cached_property
    def by_phase(self) -> dict[tuple[int, str], Rows]:
        return {
            (id(side), phase["name"]): {row["name"]: row for row in phase["parameters"]}
            for side in (self.before, self.after)
            for phase in side["phases"]
        }

    def rows(self, side: Record, phase: str) -> Rows:
        return self.by_phase[id(side), phase]

    def differences(self) -> Iterator[Difference]:
        """Yield all differences; of runs that share no phase also what is done to tensors in any phase."""
        yield from diff_records(self.before, self.after)
        if not self.phases:
            whole = diff_records(_as_one_phase(self.before), _as_one_phase(self.after))
            yield from (replace(item, phase=None) for item in whole if item.phase and item.names)

    def changes(self, item: Difference) -> Iterator[Change]:
        """Yield the changes that a difference stands for: one per pair of rules, ties apart from the rest."""
        if item.kind == MODEL and item.what == "tensor":
            yield from self._coming_and_going(item)
        elif item.kind == MODEL and item.what == "aliases":
            yield from self._ties(item)
        elif not item.names:
            phases = (item.phase,) if item.phase else ()
            yield Change(item.kind, item.what, phases, item.before, item.after)
        else:
            for rules, names in self._by_rules(item).items():
                yield self._change(item.kind, item.what, item.phase, (item.before, item.after), rules, names)

    def _change(
        self,
        kind: str,
        what: str,
        phase: str | None,
        values: tuple[Any, Any],
        rules: tuple[str | None, str | None],
        names: Sequence[str],
    ) -> Change:
        among = self.tensors[1] if values[1] is not None else self.tensors[0]
        where = gathered(names, among)
        return Change(kind, what, (phase,) if phase else (), *values, rules, tuple(names), where)

    def _by_rules(self, item: Difference) -> dict[tuple[str | None, str | None], list[str]]:
        found: dict[tuple[str | None, str | None], list[str]] = {}
        for name in item.names:
            rows = [
                self.rows(side, item.phase)[name] if item.phase else last[name]
                for side, last in zip((self.before, self.after), self.last, strict=True)
            ]
            rules = (
                (None, None) if item.what in WITHOUT_RULE else tuple(_rule(row, item.what) for row in rows)
            )
            found.setdefault((rules[0], rules[1]), []).append(name)
        return found

    def _coming_and_going(self, item: Difference) -> Iterator[Change]:
        """Yield tensors that only one side has, by what is done to them there, without those that were tied."""
        comes = item.after == "in the model"
        place = 1 if comes else 0
        tied = {name for row in self.tensors[1 - place].values() for name in row["aliases"]}
        found: dict[tuple[str, str], list[str]] = {}
        for name in item.names:
            if name not in tied:
                row = self.last[place][name]
                found.setdefault((row["state"], row["rule"]), []).append(name)
        for (state, rule), names in found.items():
            values = (None, state) if comes else (state, None)
            rules = (None, rule) if comes else (rule, None)
            yield self._change(MODEL, ADDED if comes else REMOVED, None, values, rules, names)

    def _ties(self, item: Difference) -> Iterator[Change]:
        """Yield the names that a tensor no longer has, or has besides."""
        for what, names in (
            (UNTIED, [name for name in item.before if name not in item.after]),
            (TIED, [name for name in item.after if name not in item.before]),
        ):
            if names:
                yield Change(MODEL, what, (), list(item.names), names, names=item.names, where=tuple(names))


def _rule(row: Record, what: str) -> str | None:
    if what == "weight_decay" and row["no_decay"]:
        return "no_decay"
    decided = row["decided_by"]
    found = next((decided[key] for key in DECIDERS.get(what, ()) if key in decided), None)
    return found or row["rule"]


def _over_phases(changes: Iterable[Change], phases: Sequence[str]) -> Iterator[Change]:
    """Yield changes with those that are alike in several phases as one."""
    found: dict[str, list[Change]] = {}
    for item in changes:
        key = repr((item.kind, item.what, item.before, item.after, item.rules, item.names))
        found.setdefault(key, []).append(item)
    for alike in found.values():
        first, named = alike[0], tuple(name for item in alike for name in item.phases)
        everywhere = named == tuple(phases)
        yield replace(first, phases=() if everywhere else named)
