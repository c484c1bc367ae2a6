"""The compiler: (Spec, Inventory) -> Plan, pure and without tensors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.inventory.records import Inventory
from freezeplan.plan.assigning import assign
from freezeplan.plan.binding import bind_rules
from freezeplan.plan.building import build_plan
from freezeplan.plan.cascade import NOBODY, cascade
from freezeplan.plan.collisions import collisions, idle_piercing
from freezeplan.plan.coverage import dead_rules, uncovered
from freezeplan.plan.exemptions import exempt
from freezeplan.plan.freeze_when import freezing_phases
from freezeplan.plan.gradual import gradual_phases
from freezeplan.plan.layer_decay.problems import decay_problems, upside_down
from freezeplan.plan.layer_decay.steps import decay_steps
from freezeplan.plan.layout import Stage, whole_run, written_phases
from freezeplan.plan.owners import bind_optimizers, owner_of_each
from freezeplan.plan.records import Plan
from freezeplan.plan.resolution import Resolution
from freezeplan.plan.ties import tie_conflicts
from freezeplan.plan.tree import NameTree
from freezeplan.plan.unfit_rates import unfit_rates
from freezeplan.spec.locations import at_key
from freezeplan.spec.tables import Spec

FLOATING = ("float", "bfloat", "complex")


def compile_plan(inventory: Inventory, spec: Spec) -> Plan:
    """Compile a spec against a model's inventory, every phase of it.

    Every pattern must hit, every parameter must get its state from a rule, rules may refine but not
    contradict each other, tied names must end equal. Returns the plan, warnings and notes included;
    raises :class:`DiagnosticError` with all that is wrong, in file order.
    """
    resolution = resolve(inventory, spec)
    errors = [item for item in resolution.problems if item.is_error]
    if errors:
        raise DiagnosticError(spec.locations.attach(resolution.problems))
    return build_plan(resolution)


def resolve(inventory: Inventory, spec: Spec) -> Resolution:
    """Match, cascade and check; returns all that was found, errors included."""
    tree = NameTree(inventory)
    stages, problems = _stages(spec, tree)
    rules, found = bind_rules(spec, tree, stages)
    masked, notes = exempt(spec, tree)
    owners, unfit = bind_optimizers(spec, tree, rules)
    problems += [*found, *notes, *unfit]
    decided = [
        cascade([rule for rule in rules if rule.phase <= phase], tree.size) for phase in range(len(stages))
    ]
    resolution = Resolution(spec, inventory, tree, owners, stages, rules, decided, masked, problems)
    if not any(item.is_error for item in problems):
        problems += _contradictions(resolution)
    if owners and not any(item.is_error for item in problems):
        _settle(resolution)
    return resolution


def _stages(spec: Spec, tree: NameTree) -> tuple[tuple[Stage, ...], list[Diagnostic]]:
    if spec.gradual is not None:
        return gradual_phases(spec, tree, spec.gradual)
    if spec.freeze_when is not None:
        return freezing_phases(spec, tree, spec.freeze_when)
    return (written_phases(spec) if spec.phase else whole_run(spec)), []


def _contradictions(resolution: Resolution) -> Iterator[Diagnostic]:
    tree, rules = resolution.tree, resolution.rules
    for phase in range(-1, len(resolution.stages)):
        yield from collisions(tree, [rule for rule in rules if rule.phase == phase])
    yield from upside_down(rules)
    yield from idle_piercing(rules, resolution.masked)
    yield from uncovered(tree, [rule for rule in rules if rule.phase <= 0])


def _settle(resolution: Resolution) -> None:
    """Fill in the assignments of each phase, and what can only be checked once they are known."""
    flags = resolution.masked.to_bytes(resolution.tree.size, "little")
    owned = owner_of_each(resolution.owners, resolution.tree.size)
    found = [
        item for phase in range(len(resolution.stages)) for item in _assign_phase(resolution, owned, phase)
    ]
    dead = dead_rules(resolution.tree, resolution.rules, resolution.decided, flags)
    resolution.problems += [*dead, *dict.fromkeys(found)]


def _assign_phase(resolution: Resolution, owned: Sequence[int], phase: int) -> list[Diagnostic]:
    tree, rules, decided = resolution.tree, resolution.rules, resolution.decided[phase]
    flags = resolution.masked.to_bytes(tree.size, "little")
    winners = decided.winners.get("layer_decay", [NOBODY] * tree.size)
    steps = decay_steps(tree, rules, winners)
    resolution.assignments.append(assign(resolution.owners, owned, rules, decided, flags, steps))
    by_name = resolution.by_name(phase)
    return [
        *unfit_rates(tree, rules, resolution.owners, resolution.assignments[phase]),
        *decay_problems(tree, [rule for rule in rules if rule.phase <= phase], steps, winners),
        *tie_conflicts(tree, rules, by_name),
        *_untrainable(resolution, phase),
    ]


def _untrainable(resolution: Resolution, phase: int) -> Iterator[Diagnostic]:
    """Report, rule by rule, quantised tensors that it wants to train: packed or integer, they take no gradient."""
    by_name, found = resolution.by_name(phase), defaultdict(list)
    for info in resolution.inventory.tensors:
        what = by_name[info.name]
        packed = info.quantized or (None if info.dtype.startswith(FLOATING) else info.dtype)
        if what.trainable and packed:
            path = (*resolution.rule_path(dict(what.decided)["state"]), "state")
            found[path].append((info.name, packed))
    for path, tensors in found.items():
        name, packed = tensors[0]
        many = f", and {len(tensors) - 1} more are quantised: they" if len(tensors) > 1 else ": it"
        message = f"`{name}` is quantised ({packed}){many} cannot require a gradient"
        yield at_key(path, "FP411", message, help="freeze what is quantised, or train adapters beside it")
