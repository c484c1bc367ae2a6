"""Advice about a run in phases: what holds in which phase, and phases or rules without effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import plural, quoted
from freezeplan.plan import masks
from freezeplan.plan.advice import Subject, advice_of_phase, advice_of_run
from freezeplan.plan.model_advice import OF_A_MODEL, held_and_trained
from freezeplan.plan.optimizer_advice import optimizer_advice
from freezeplan.plan.records import Assignment
from freezeplan.plan.resolution import Resolution
from freezeplan.spec.locations import at_key

Whats = Sequence[Sequence[Assignment]]


def phase_advice(resolution: Resolution, whats: Whats) -> list[Diagnostic]:
    """Return the warnings about a plan whose phases do ``whats`` (one row of assignments per phase).

    What holds in several phases is said once, with their names.
    """
    subjects = [_subject(resolution, index, row) for index, row in enumerate(whats)]
    trained = [next((what for what in row if what.trainable), row[-1]) for row in zip(*whats, strict=True)]
    last = len(whats) - 1
    whole = replace(subjects[last], pairs=[pair for subject in subjects for pair in subject.pairs])
    summary = _subject(resolution, last, trained)
    return [
        *_with_phases(resolution, [_advice(subject) for subject in subjects]),
        *advice_of_run(summary, whole),
        *held_and_trained(summary),
        *optimizer_advice(resolution, whats),
        *_without_effect(resolution, whats),
    ]


def _advice(subject: Subject) -> list[Diagnostic]:
    return [*advice_of_phase(subject), *(found for check in OF_A_MODEL for found in check(subject))]


def _subject(resolution: Resolution, phase: int, row: Sequence[Assignment]) -> Subject:
    rules = [rule for rule in resolution.rules if rule.phase <= phase]
    inventory = resolution.inventory
    return Subject(
        resolution.spec, inventory, rules, list(zip(inventory.tensors, row, strict=True)), resolution.owners
    )


def _with_phases(resolution: Resolution, found: Sequence[Sequence[Diagnostic]]) -> Iterator[Diagnostic]:
    """Put the names of its phases in front of each finding, unless there is but one phase."""
    phases: dict[Diagnostic, list[str]] = {}
    for stage, items in zip(resolution.stages, found, strict=True):
        for item in items:
            phases.setdefault(item, []).append(stage.name)
    for item, names in phases.items():
        lead = f"in {plural(len(names), 'phase')} {quoted(names)}: " if len(found) > 1 else ""
        yield replace(item, message=lead + item.message)


def _without_effect(resolution: Resolution, whats: Whats) -> Iterator[Diagnostic]:
    for index in range(1, len(whats)):
        stage = resolution.stages[index]
        same = all(_same(*pair) for pair in zip(whats[index - 1], whats[index], strict=True))
        if same and stage.schedule is None:
            message = f"phase `{stage.name}` changes nothing: it carries on the phase before"
            advice = "make the phase before it longer, or add a rule"
            yield at_key(stage.path, "FP424", message, help=advice)
        if not same:
            yield from _restated(resolution, index)


def _restated(resolution: Resolution, phase: int) -> Iterator[Diagnostic]:
    """Report the rules of a phase that say only what held already: a thaw of what trains, for one."""
    before, after = resolution.assignments[phase - 1], resolution.assignments[phase]
    for rule in (rule for rule in resolution.rules if rule.phase == phase and rule.mask):
        selected = list(masks.positions_of(rule.mask, len(before)))
        if all(_same(before[at], after[at]) for at in selected):
            states = {before[at].state for at in selected}
            already = f"is {states.pop()} already" if len(states) == 1 else "is so already"
            message = f"rule `{rule.name}` changes nothing: what it selects {already}"
            place = (*rule.path, "match") if rule.path[0] == "phase" else rule.path
            advice = "remove it, or correct its pattern"
            yield at_key(place, "FP425", message, help=advice)


def _same(before: Assignment, after: Assignment) -> bool:
    """Whether nothing but the deciding rules differs."""
    return before is after or replace(before, decided=(), rule="") == replace(after, decided=(), rule="")
