"""The compiler: (Spec, Inventory) -> Plan, pure and without tensors."""

from __future__ import annotations

from collections.abc import Sequence

from freezeplan.diagnostics import Diagnostic, DiagnosticError, in_file_order
from freezeplan.inventory.records import ITEM_BYTES, Inventory
from freezeplan.plan.advice import Subject, advice
from freezeplan.plan.assigning import assign, base_options, base_weight_decay
from freezeplan.plan.binding import BoundRule, bind_rules, report
from freezeplan.plan.cascade import NOBODY, cascade
from freezeplan.plan.collisions import collisions, idle_piercing
from freezeplan.plan.coverage import dead_rules, uncovered
from freezeplan.plan.decaying import decay_problems, decay_steps
from freezeplan.plan.exemptions import exempt
from freezeplan.plan.grouping import partition
from freezeplan.plan.modes import eval_modules, frozen_prefix
from freezeplan.plan.optimizers import (
    OptimizerFacts,
    demand_problems,
    find_optimizer,
    option_problems,
    state_bytes,
)
from freezeplan.plan.records import Assignment, Phase, Plan, PlannedParam
from freezeplan.plan.resolution import Resolution
from freezeplan.plan.ties import tie_conflicts
from freezeplan.plan.tree import NameTree
from freezeplan.spec.tables import Spec

WHOLE_RUN = "whole run"


def compile_plan(inventory: Inventory, spec: Spec) -> Plan:
    """Compile a spec against a model's inventory.

    Every pattern must hit, every parameter must get its state from a rule, rules may refine but not
    contradict each other, tied names must end equal. Returns the plan, warnings and notes included;
    raises :class:`DiagnosticError` with all that is wrong, in file order.
    """
    resolution = resolve(inventory, spec)
    errors = [item for item in resolution.problems if item.is_error]
    if errors:
        raise DiagnosticError(in_file_order(resolution.problems))
    return _plan(resolution)


def resolve(inventory: Inventory, spec: Spec) -> Resolution:
    """Match, cascade and check; returns all that was found, errors included."""
    tree = NameTree(inventory)
    rules, problems = bind_rules(spec, tree)
    masked, notes = exempt(spec, tree)
    facts, unknown = find_optimizer(spec)
    problems += [*notes, *unknown, *(option_problems(spec, facts, rules) if facts else [])]
    decided = cascade(rules, tree.size)
    if not any(item.is_error for item in problems):
        problems += collisions(spec, tree, rules)
        problems += idle_piercing(spec, rules, masked)
        problems += uncovered(spec, tree, rules)
    resolution = Resolution(spec, inventory, tree, facts, rules, decided, masked, problems)
    if facts is not None and not any(item.is_error for item in problems):
        _settle(resolution, facts)
    return resolution


def _settle(resolution: Resolution, facts: OptimizerFacts) -> None:
    """Fill in the assignments, and what can only be checked once they are known."""
    spec, tree = resolution.spec, resolution.tree
    flags = resolution.masked.to_bytes(tree.size, "little")
    winners = resolution.decided.winners.get("layer_decay", [NOBODY] * tree.size)
    steps = decay_steps(tree, resolution.rules, winners)
    resolution.assignments = assign(spec, facts, resolution.rules, resolution.decided, flags, steps)
    resolution.problems += decay_problems(spec, tree, resolution.rules, steps, winners)
    resolution.problems += dead_rules(spec, tree, resolution.rules, resolution.decided, flags)
    by_name = resolution.by_name()
    resolution.problems += tie_conflicts(spec, tree, resolution.rules, by_name)
    resolution.problems += _untrainable(resolution, by_name)


def _untrainable(resolution: Resolution, by_name: dict[str, Assignment]) -> list[Diagnostic]:
    """Report quantised (integer) tensors that a rule wants to train: they cannot require a gradient."""
    found = []
    for info in resolution.inventory.tensors:
        what = by_name[info.name]
        if what.trainable and not info.dtype.startswith(("float", "bfloat", "complex")):
            path = resolution.rule_path(dict(what.decided)["state"])
            message = f"`{info.name}` is {info.dtype}: a quantised tensor cannot require a gradient"
            found.append(
                report(
                    resolution.spec,
                    "FP411",
                    message,
                    (*path, "state"),
                    advice="freeze it, or train adapters beside it",
                )
            )
    return found


def _plan(resolution: Resolution) -> Plan:
    spec, inventory, facts = resolution.spec, resolution.inventory, resolution.facts
    assert facts is not None
    by_name = resolution.by_name()
    params = _planned(inventory)
    whats = [by_name[param.name] for param in params]
    groups, frozen = partition(params, [whats], _selected_by(resolution.rules))
    shapes = {param.name: param.shape for param in params}
    problems = [*resolution.problems, *demand_problems(spec, facts, groups, shapes)]
    if any(item.is_error for item in problems):
        raise DiagnosticError(in_file_order(problems))
    problems += advice(
        Subject(spec, inventory, resolution.rules, list(zip(inventory.tensors, whats, strict=True)))
    )
    return Plan(
        model=inventory.label,
        origin=inventory.origin,
        base=inventory.base,
        optimizer=facts.name,
        optimizer_options=tuple(sorted(base_options(spec, facts).items())),
        base_lr=spec.optimizer.lr,
        base_weight_decay=base_weight_decay(spec, facts),
        params=params,
        phases=(_phase(resolution, facts, params, whats),),
        groups=groups,
        frozen=frozen,
        diagnostics=in_file_order(problems),
    )


def _planned(inventory: Inventory) -> tuple[PlannedParam, ...]:
    aliases: dict[str, list[str]] = {}
    for info in inventory.params:
        if info.alias_of is not None:
            aliases.setdefault(info.alias_of, []).append(info.name)
    return tuple(
        PlannedParam(
            info.name, tuple(aliases.get(info.name, ())), info.shape, info.dtype, info.numel, info.layer
        )
        for info in inventory.tensors
    )


def _selected_by(rules: Sequence[BoundRule]) -> dict[str, str]:
    return {rule.name: _pattern_text(rule) for rule in rules}


def _pattern_text(rule: BoundRule) -> str:
    text = ", ".join(rule.rule.match)
    return f"{text} except {', '.join(rule.rule.except_)}" if rule.rule.except_ else text


def _phase(
    resolution: Resolution, facts: OptimizerFacts, params: Sequence[PlannedParam], whats: Sequence[Assignment]
) -> Phase:
    in_eval, in_train = eval_modules(resolution.tree, resolution.assignments)
    stack, prefix = frozen_prefix(resolution.tree, resolution.assignments)
    pairs = list(zip(params, whats, strict=True))
    return Phase(
        name=WHOLE_RUN,
        assignments=tuple(whats),
        eval_modules=in_eval,
        kept_in_train_mode=in_train,
        stack=stack.path if stack else None,
        stack_length=stack.length if stack else 0,
        frozen_prefix=prefix,
        trainable_numel=sum(param.numel for param, what in pairs if what.trainable),
        optimizer_state_bytes=sum(
            state_bytes(facts, param.shape, ITEM_BYTES.get(param.dtype, 4), what) for param, what in pairs
        ),
    )
