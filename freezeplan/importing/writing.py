"""A reading as the commented text of a spec."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

from freezeplan.diagnostics import Span
from freezeplan.diagnostics.wording import shortened
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.reading import UNSAID, Outcome, PhaseReading, Reading, Treatment
from freezeplan.plan.binding import match_patterns, tensors_in
from freezeplan.plan.gathering import gathered
from freezeplan.plan.tree import NameTree

WIDTH = 100
Key = tuple[int, Treatment]


@dataclass(frozen=True)
class Origin:
    """What the text says of where it comes from; ``left`` are the settings of the config that are not in it."""

    file: str
    title: str
    reading: str
    label: str
    left: tuple[str, ...] = ()


class SpecWriter:
    """Write a reading of a config for one model.

    A rule is written for each statement that decides something, over one that holds for all tensors. Its patterns are
    the peer's words in ours where these select the same tensors of the model, else the tensors themselves, gathered.
    """

    def __init__(self, model: ModelNames, reading: Reading, table: Mapping[str, Any], origin: Origin) -> None:
        self.model = model
        self.reading = reading
        self.table = table
        self.origin = origin
        self.tree = NameTree(model.inventory)
        self.names: set[str] = set()

    def text(self) -> str:
        """Return the spec as TOML."""
        first, *later = self.reading.phases
        lines = [*self._head(), *self._tables(), *self._base(first.outcome)]
        if later:
            lines += self._phase(first, {})
        for before, phase in zip(self.reading.phases, later, strict=False):
            lines += self._phase(phase, before.outcome)
        return "\n".join(lines) + "\n"

    def _head(self) -> list[str]:
        origin = self.origin
        lines = [
            "#:schema freezeplan.schema.json",
            f"# {origin.file} of {origin.title}, {origin.reading}, for {origin.label}.",
            f"# Modules that are frozen are in eval mode. {origin.title} leaves them in training mode, as",
            "# `eval_mode = false` in a rule does.",
            "# What trains, rates and weight decay are taken over; data, batches, number formats, schedule and epochs",
            "# are not.",
            *_listed(origin.left),
        ]
        for item in self.reading.findings:
            lines += [f"# {self._place(item.span)}{item.message}"]
        return [_printable(line) for line in lines]

    def _place(self, span: Span | None) -> str:
        """Return the line of a place, behind its file where that is another one than the config's."""
        if span is None:
            return ""
        file = Path(span.file).name
        return f"{span.line}: " if file == self.origin.file else f"{file}:{span.line}: "

    def _tables(self) -> list[str]:
        optimizer = {
            "lr": self.reading.lr,
            "weight_decay": self.reading.base_decay,
            "no_decay": self.reading.no_decay or [],
        }
        return [*_table("[model]", self.table), *_table("[optimizer]", optimizer)]

    def _base(self, outcome: Outcome) -> list[str]:
        """Write the rule for all tensors, and with one phase alone the others."""
        several = len(self.reading.phases) > 1
        found = _grouped(outcome.items() if not several else [])
        base = self._most(found)[1] if found else Treatment(False)
        self.names.add("everything")
        keys = {"name": "everything", "match": "**", **_properties(base)}
        if self.reading.layer_decay:
            formula, rate, least = self.reading.layer_decay
            decay = {"formula": formula, "rate": rate, **({"min_mult": least} if least else {})}
            return _table("[[rule]]", {**keys, "state": "trainable", "lr_mult": None, "layer_decay": decay})
        rest = [key for key in found if key != self._most(found)]
        return [*_table("[[rule]]", keys), *self._rules("[[rule]]", rest, found)]

    @staticmethod
    def _most(found: Mapping[Key, Sequence[str]]) -> Key:
        """Return what is done where nothing is said, else with the most tensors."""
        unsaid = [key for key in found if key[0] == UNSAID]
        return unsaid[0] if unsaid else max(found, key=lambda key: len(found[key]))

    def _phase(self, phase: PhaseReading, before: Outcome) -> list[str]:
        changed = [
            (name, what)
            for name, what in phase.outcome.items()
            if what[0] != (before[name][0] if before else Treatment(False))
        ]
        found = _grouped(changed)
        head = _table("[[phase]]", {"name": phase.name, "epochs": phase.epochs or 1})
        return [*head, *self._rules("[[phase.rule]]", found, found)]

    def _rules(self, header: str, keys: Iterable[Key], found: Mapping[Key, Sequence[str]]) -> Iterator[str]:
        for index, treatment in sorted(keys, key=lambda key: key[0]):
            statement = self.reading.statements[index] if index != UNSAID else None
            said = _printable(statement.said) if statement else "the rest"
            place = self._place(statement.span if statement else None)
            match = self._patterns(found[index, treatment], statement.selectors if statement else ())
            rule = {"name": self._unique(_name(said)), "match": match, **_properties(treatment)}
            yield from _table(header, rule, f"# {place}{said}")

    def _patterns(self, names: Sequence[str], offered: Sequence[str]) -> list[str]:
        own = self.model.own(names)
        for pattern in offered:
            mask, problems = match_patterns(self.tree, [pattern], (), False)
            if not problems and {info.alias_of or info.name for info in tensors_in(self.tree, mask)} == set(
                own
            ):
                return [pattern]
        wanted = set(own)
        every = [info for info in self.model.inventory.params if (info.alias_of or info.name) in wanted]
        return list(
            gathered([info.name for info in every], [info.name for info in self.model.inventory.params])
        )

    def _unique(self, wanted: str) -> str:
        name, number = wanted, 2
        while name in self.names:
            name, number = f"{wanted} #{number}", number + 1
        self.names.add(name)
        return name


def _listed(left: Sequence[str]) -> list[str]:
    """Return comment lines that name the settings of a config that are not in the spec."""
    if not left:
        return []
    text = f"Not in this spec: {', '.join(map(_printable, left))}."
    return [f"# {line}" for line in wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)]


def _printable(text: str) -> str:
    """Return text for a comment: what cannot be shown on one line is written as an escape."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _name(said: str) -> str:
    """Return a rule's name: what a statement says, without its key where that tells enough."""
    _, _, value = said.partition(": ")
    return shortened(value if re.search(r"[A-Za-z]{2}", value) else said, 60)


def _grouped(items: Iterable[tuple[str, Key | tuple[Treatment, int]]]) -> dict[Key, list[str]]:
    found: dict[Key, list[str]] = {}
    for name, (treatment, index) in items:  # type: ignore[misc]
        found.setdefault((index, treatment), []).append(name)  # type: ignore[arg-type]
    return found


def _properties(treatment: Treatment) -> dict[str, Any]:
    """Return the keys of a rule; a factor of 1 says nothing."""
    keys: dict[str, Any] = {"state": "trainable" if treatment.trained else "frozen"}
    for key in ("lr", "lr_mult", "weight_decay", "weight_decay_mult"):
        value = getattr(treatment, key)
        if value is not None and not (key.endswith("_mult") and value == 1):
            keys[key] = value
    return keys


def _table(header: str, keys: Mapping[str, Any], comment: str = "") -> list[str]:
    pairs = [f"{key} = {_toml(value)}" for key, value in keys.items() if value is not None]
    return ["", *([comment] if comment else []), header, *pairs]


def _toml(value: Any) -> str:
    writers: dict[type, Callable[[Any], str]] = {dict: _inline, list: _array}
    if type(value) in writers:
        return writers[type(value)](value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _inline(table: Mapping[str, Any]) -> str:
    return "{ " + ", ".join(f"{key} = {_toml(value)}" for key, value in table.items()) + " }"


def _array(values: Sequence[str]) -> str:
    if len(values) == 1:
        return _toml(values[0])
    line = f"[{', '.join(map(_toml, values))}]"
    return line if len(line) < WIDTH else "\n".join(["[", *(f"    {_toml(value)}," for value in values), "]"])
