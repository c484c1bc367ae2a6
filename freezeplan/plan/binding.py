"""Rules bound to a model: which names each selects, and which properties it sets to what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from freezeplan.diagnostics import Diagnostic, Span
from freezeplan.diagnostics.capping import Flood
from freezeplan.diagnostics.wording import shortened
from freezeplan.plan import masks
from freezeplan.plan.empty_heads import advised
from freezeplan.plan.layout import PhaseRule, Stage, written_phases
from freezeplan.plan.near_misses import Miss
from freezeplan.plan.rates import times
from freezeplan.plan.select import select
from freezeplan.plan.tree import NameTree
from freezeplan.spec.locations import KeyPath, at_key
from freezeplan.spec.patterns import syntax_problem
from freezeplan.spec.selector import parse_selector
from freezeplan.spec.selector_error import SelectorError
from freezeplan.spec.tables import OptimizerOptions, Rule, Spec

OPTION_NAMES = tuple(OptimizerOptions.model_fields)


@dataclass(frozen=True)
class Setting:
    """One property that a rule sets; ``key`` is the key that is written for it."""

    value: Any
    key: str


@dataclass(frozen=True)
class BoundRule:
    """A rule with the set of names it selects (a mask over tree positions).

    ``index`` counts over all rules in the order in which they are laid over one another: the base layer's
    (``phase`` -1), then those of each phase. ``name`` is unique among all of them; ``label`` is what the
    rules of its own layer call it by, ``place`` where its header stands in a file.
    """

    index: int
    name: str
    rule: Rule
    path: KeyPath
    mask: int
    settings: dict[str, Setting] = field(default_factory=dict)
    phase: int = -1
    label: str = ""
    place: Span | None = None

    def overrules(self, other: BoundRule) -> bool:
        """Whether the rule may overrule another one: of its own layer by ``override``, of others always."""
        return other.phase < self.phase or self.overrides(other.label)

    def overrides(self, name: str) -> bool:
        """Whether the rule may overrule the rule (or mask) of that name."""
        return name in (self.rule.override or ())


def rule_names(rules: Sequence[Rule]) -> list[str]:
    """Return one name per rule: its own, else its patterns; repeated ones get a number.

    >>> rule_names([Rule(match="a"), Rule(match="a"), Rule(name="x", match="b")])
    ['a', 'a #2', 'x']
    """
    names: list[str] = []
    taken = {rule.name for rule in rules if rule.name}
    last: dict[str, int] = {}
    for rule in rules:
        name = wanted = rule.name or ", ".join(rule.match)
        while not rule.name and name in taken:
            # From where the last one of these patterns stopped, or many alike rules would take quadratic time.
            last[wanted] = last.get(wanted, 1) + 1
            name = f"{wanted} #{last[wanted]}"
        taken.add(name)
        names.append(name)
    return names


def base_rates(spec: Spec) -> tuple[float, ...]:
    """Return the base rates of the spec's optimizers, each once."""
    own = [table.lr for table in spec.optimizer.named.values() if table.lr is not None]
    return tuple(dict.fromkeys([spec.optimizer.lr, *own]))


def base_decays(spec: Spec) -> tuple[float, ...]:
    """Return the weight decays of the spec's optimizers, each once."""
    own = [table.weight_decay for table in spec.optimizer.named.values() if table.weight_decay is not None]
    return tuple(dict.fromkeys([spec.optimizer.weight_decay, *own]))


def settings_of(rule: Rule, bases: Sequence[float], decays: Sequence[float]) -> dict[str, Setting]:
    """Return the properties a rule sets.

    ``lr_mult`` and ``lr`` are one property: the rate under each base rate. So are ``weight_decay_mult`` and
    ``weight_decay``.
    """
    found: dict[str, Setting] = {}
    if rule.state is not None:
        found["state"] = Setting(rule.state, "state")
    if rule.lr is not None or rule.lr_mult is not None:
        rates = tuple(times(base, rule.lr_mult or 1.0) if rule.lr is None else rule.lr for base in bases)
        found["lr"] = Setting(rates, "lr" if rule.lr is not None else "lr_mult")
    if rule.layer_decay is not None:
        found["layer_decay"] = Setting(rule.layer_decay, "layer_decay")
    if rule.weight_decay is not None or rule.weight_decay_mult is not None:
        key = "weight_decay" if rule.weight_decay is not None else "weight_decay_mult"
        found["weight_decay"] = Setting(tuple(decay_of(rule, base) for base in decays), key)
    for key in ("eval_mode", *OPTION_NAMES):
        value = getattr(rule, key)
        if value is not None:
            found[key] = Setting(tuple(value) if isinstance(value, list) else value, key)
    return found


def bind_rules(
    spec: Spec, tree: NameTree, stages: Sequence[Stage] = ()
) -> tuple[list[BoundRule], list[Diagnostic]]:
    """Match the rules of the base layer and of each phase.

    Returns the bound rules in order, the base layer first, and all that was wrong.
    """
    problems: list[Diagnostic] = []
    bound: list[BoundRule] = []
    for phase, layer in enumerate(_layers(spec, stages), -1):
        for item, names in layer:
            rule, found = _bind(spec, tree, item, names, len(bound), phase)
            bound.append(rule)
            problems += found
    return bound, problems


def rule_paths(spec: Spec) -> dict[str, KeyPath]:
    """Return the key path of each rule that is written in a spec, by the unique name that a plan calls it."""
    layers = _layers(spec, written_phases(spec))
    return {name: item.path for layer in layers for item, (name, _) in layer}


def _layers(spec: Spec, stages: Sequence[Stage]) -> list[list[tuple[PhaseRule, tuple[str, str]]]]:
    """Return the rules of the base layer, then of each phase, with their names: the unique one, that in the layer."""
    layers = [tuple(PhaseRule(rule, ("rule", index)) for index, rule in enumerate(spec.rule))]
    layers += [stage.rules for stage in stages]
    names = _layer_names(
        [[item.rule for item in layer] for layer in layers], [stage.name for stage in stages]
    )
    return [list(zip(layer, known, strict=True)) for layer, known in zip(layers, names, strict=True)]


def _bind(
    spec: Spec, tree: NameTree, item: PhaseRule, names: tuple[str, str], index: int, phase: int
) -> tuple[BoundRule, list[Diagnostic]]:
    mask, problems = item.mask, []
    if mask is None:
        rule = item.rule
        mask, problems = selected(tree, rule.match, rule.except_, item.path, optional=rule.optional)
        problems = advised(problems, spec)
    if not any(found.is_error for found in problems):
        problems += _expectations(tree, item.rule, item.path, mask)
    name, label = names
    bases, decays = base_rates(spec), base_decays(spec)
    settings = settings_of(item.rule, bases, decays)
    problems += _rate_problems(item.path, settings, bases)
    problems += _decay_problems(item.path, name, item.rule, decays)
    place = spec.locations.key(item.path)
    return BoundRule(index, name, item.rule, item.path, mask, settings, phase, label, place), problems


def _layer_names(layers: Sequence[Sequence[Rule]], phases: Sequence[str]) -> list[list[tuple[str, str]]]:
    """Return each rule's unique name and its name within its layer, layer by layer.

    A name that an earlier layer has is followed by its phase.
    """
    found: list[list[tuple[str, str]]] = []
    taken: set[str] = set()
    for layer, phase in zip(layers, ("", *phases), strict=True):
        labels = rule_names(layer)
        names = [f"{label} ({phase})" if label in taken else label for label in labels]
        taken.update(names)
        found.append(list(zip(names, labels, strict=True)))
    return found


def _rate_problems(path: KeyPath, settings: dict[str, Setting], bases: Sequence[float]) -> list[Diagnostic]:
    """Report a product of base rate and multiplier that no floating-point number above 0 can hold."""
    rate = settings.get("lr")
    for base, value in zip(bases, rate.value if rate else (), strict=False):
        if rate is not None and not 0.0 < value < float("inf"):
            message = f"{base} x this multiplier is {value}: not a learning rate"
            return [at_key((*path, rate.key), "FP418", message, help="write the rate itself, as `lr`")]
    return []


def decay_of(rule: Rule, base: float) -> float:
    """Return the weight decay that a rule writes, above a base one."""
    if rule.weight_decay is not None:
        return rule.weight_decay
    return base if rule.weight_decay_mult is None else times(base, rule.weight_decay_mult)


def _decay_problems(path: KeyPath, name: str, rule: Rule, bases: Sequence[float]) -> list[Diagnostic]:
    """Report a multiple of a weight decay that no number can hold, and one of a weight decay of 0."""
    if rule.weight_decay_mult is None:
        return []
    place = (*path, "weight_decay_mult")
    if (highest := max(bases)) and decay_of(rule, highest) == float("inf"):
        message = f"{highest} x this multiplier is inf: not a weight decay"
        return [at_key(place, "FP418", message, help="write the weight decay itself, as `weight_decay`")]
    if not any(bases):
        message = f"`weight_decay_mult` of rule `{name}` decides nothing"
        notes = ["the optimizer's weight decay is 0, and so is each multiple of it"]
        return [at_key(place, "FP307", message, help="remove the key, or write `weight_decay`", notes=notes)]
    return []


def selected(
    tree: NameTree, match: Sequence[str], without: Sequence[str] | None, path: KeyPath, *, optional: bool
) -> tuple[int, list[Diagnostic]]:
    """Return the names that the patterns of ``match`` and not those of ``except`` hit, and what was wrong.

    Every pattern must hit something, those of ``except`` something that was matched, unless ``optional``.
    """
    matched, problems = match_patterns(tree, match, (*path, "match"), optional)
    excluded = masks.EMPTY
    for entry, text in enumerate(without or ()):
        place = (*path, "except", entry)
        taken, found = match_patterns(tree, [text], (*path, "except"), optional, entry)
        problems += found
        if not any(miss.is_error for miss in found) and matched and not taken & matched and not optional:
            problems.append(
                at_key(place, "FP209", f"`{text}` takes nothing away from the match", within=(0, len(text)))
            )
        excluded |= taken
    left = matched & ~excluded
    if matched and not left and not optional:
        problems.append(at_key((*path, "except"), "FP210", "`except` takes away all that `match` selects"))
    return left, problems


def match_patterns(
    tree: NameTree, patterns: Sequence[str], path: KeyPath, optional: bool, first: int = 0
) -> tuple[int, list[Diagnostic]]:
    """Return the union of the patterns' names; every pattern must hit something unless ``optional``."""
    union, flood = masks.EMPTY, Flood()
    for entry, text in enumerate(patterns, first):
        place = (*path, entry)
        try:
            match = select(tree, parse_selector(text))
        except SelectorError as error:
            flood.take(error.code, partial(syntax_problem, error, place))
            continue
        union |= match.mask
        for miss in match.misses:
            if not (optional and miss.excusable):
                flood.take(miss.code, partial(_missed, text, miss, place))
    return union, flood.findings()


def _missed(text: str, miss: Miss, path: KeyPath) -> Diagnostic:
    inside = (miss.start, miss.end - miss.start)
    message = (
        miss.message.replace("pattern", f"pattern `{shortened(text)}`", 1)
        if miss.message.startswith("pattern")
        else miss.message
    )
    return at_key(path, miss.code, message, help=miss.advice, notes=miss.notes, within=inside)


def _expectations(tree: NameTree, rule: Rule, path: KeyPath, mask: int) -> list[Diagnostic]:
    if rule.expect is None:
        return []
    infos = tensors_in(tree, mask)
    counts = {"tensors": len(infos), "parameters": sum(info.numel for info in infos)}
    found = []
    for what, count in counts.items():
        wanted = getattr(rule.expect, what)
        if wanted is not None and wanted != count:
            message = f"the rule selects {count:,} {what}, not {wanted:,}"
            advice = f"check the pattern, or write `{what} = {count}`"
            found.append(at_key((*path, "expect", what), "FP211", message, help=advice))
    return found


def tensors_in(tree: NameTree, mask: int) -> list[Any]:
    """Return the records of the tensors in a set, each tied tensor once."""
    params = tree.inventory.params
    infos = [params[tree.order[position]] for position in masks.positions_of(mask, tree.size)]
    return list({info.alias_of or info.name: info for info in infos}.values())
