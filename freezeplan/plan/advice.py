"""Advice: what a plan says that its author may not have meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from freezeplan.diagnostics import Diagnostic, KeyPart
from freezeplan.diagnostics.wording import counted, format_rate, listed, some
from freezeplan.inventory.records import Inventory, ParamInfo
from freezeplan.plan.binding import BoundRule
from freezeplan.plan.empty_heads import advice_on_heads
from freezeplan.plan.owners import Owner
from freezeplan.plan.records import Assignment
from freezeplan.spec.extends import PRESET
from freezeplan.spec.locations import KeyPath, at_key
from freezeplan.spec.tables import Spec

HIGH_ADAPTIVE_RATE = 1e-3
"""Above it a pre-trained network under an adaptive optimizer usually loses what it knew.

Devlin et al., BERT, 2019 (https://arxiv.org/abs/1810.04805), fine-tune at 2e-5 to 5e-5; Houlsby et al., 2019
(https://arxiv.org/abs/1902.00751), sweep full fine-tuning up to 1e-3 and see it fail at the high end.
"""

ABSURD_RATE = 10.0
LEAST_MEANT = 1e-9

ADAPTIVE = {"adam", "adamw", "adamax", "nadam", "radam", "adafactor", "rmsprop", "muon"}


@dataclass(frozen=True)
class Subject:
    """What the checks look at: the spec, the tensors with their assignments, and the rules."""

    spec: Spec
    inventory: Inventory
    rules: Sequence[BoundRule]
    pairs: Sequence[tuple[ParamInfo, Assignment]]
    owners: Sequence[Owner]

    @cached_property
    def kinds(self) -> list[Assignment]:
        """The distinct assignments: far fewer than tensors."""
        return list({id(what): what for _, what in self.pairs}.values())

    def decided_by(self, rule: BoundRule, key: str) -> list[Assignment]:
        """Return the distinct assignments in which a rule decides a property."""
        return [what for what in self.kinds if (key, rule.name) in what.decided]

    def where(self, role: str, *, trainable: bool | None = None) -> list[tuple[ParamInfo, Assignment]]:
        """Return the pairs of a role, of one state if asked."""
        return [
            (info, what)
            for info, what in self.pairs
            if role in info.roles and (trainable is None or what.trainable is trainable)
        ]

    def rule_of(self, what: Assignment, key: str = "state") -> BoundRule | None:
        """Return the rule that decided a property, None where none did."""
        name = dict(what.decided).get(key)
        return next((rule for rule in self.rules if rule.name == name), None)

    def place(self, what: Assignment, key: str = "state") -> KeyPath:
        """Return the path of the key that decided a property: a rule's, or a base rate of an optimizer."""
        rule = self.rule_of(what, key)
        if rule is not None:
            return (*rule.path, rule.settings[key].key)
        if key != "lr":
            return ("rule",)
        owner = self.owner(what)
        tables = [
            path
            for path, table in ((owner.path, owner.table), (("optimizer",), self.spec.optimizer))
            if "lr" in table.model_fields_set
        ]
        return (*tables[0], "lr") if tables else self.place(what)

    def owner(self, what: Assignment) -> Owner:
        """Return the optimizer of an assignment."""
        return next(owner for owner in self.owners if owner.planned.label == what.optimizer)


def advice_of_phase(subject: Subject) -> list[Diagnostic]:
    """Return the warnings about what one phase does, in the order of the checks."""
    return [found for check in OF_A_PHASE for found in check(subject)]


def advice_of_run(summary: Subject, phases: Subject) -> list[Diagnostic]:
    """Return the warnings about the run as a whole.

    ``summary`` holds each tensor once, trainable if any phase trains it; ``phases`` holds the pairs of all
    phases.
    """
    return [
        *random_and_frozen(summary),
        *idle_rates(phases),
        *idle_eval_modes(phases),
        *none_at_rest(summary),
    ]


def everything_frozen(subject: Subject) -> Iterator[Diagnostic]:
    """Nothing trains: the run can only evaluate."""
    if not any(what.trainable for _, what in subject.pairs):
        yield at_key(
            subject.place(subject.pairs[0][1]) if subject.pairs else ("rule",),
            "FP404",
            "every parameter is frozen: nothing will be learned, this is evaluation only",
            help="fine for evaluation and feature extraction; "
            + (advice_on_heads(subject.spec) or "to learn, make a head trainable"),
        )


def drifting_heads(subject: Subject) -> Iterator[Diagnostic]:
    """A frozen head on a backbone that moves: its inputs change under it."""
    if all("pooler" in info.roles for info, _ in subject.where("backbone", trainable=True)):
        return
    own = {f"heads.{task.name}" for task in subject.spec.task if task.own_head}
    for head, members in _by_head(subject).items():
        # A language model learns through its own head, frozen or not.
        if head not in own and all(not what.trainable for _, what in members):
            message = f"head `{head}` is frozen while the backbone beneath it trains: its accuracy can drift"
            yield at_key(
                subject.place(members[0][1]),
                "FP405",
                message,
                help="freeze the backbone too, or watch this task's metric",
            )


def _by_head(subject: Subject) -> dict[str, list[tuple[ParamInfo, Assignment]]]:
    heads: dict[str, list[tuple[ParamInfo, Assignment]]] = {}
    nodes = frozenset(subject.inventory.role_nodes.get("heads", ()))
    for info, what in subject.where("heads"):
        if "backbone" not in info.roles:
            heads.setdefault(_head_of(info.name, nodes), []).append((info, what))
    return heads


def _head_of(name: str, nodes: frozenset[str]) -> str:
    """Return the path of the head that a parameter belongs to: one of several where a module holds them all."""
    parts = name.split(".")
    size = next((size for size in range(len(parts), 0, -1) if ".".join(parts[:size]) in nodes), len(parts))
    return ".".join(parts[: size + (parts[size - 1] == "heads")])


def random_and_frozen(subject: Subject) -> Iterator[Diagnostic]:
    """Frozen weights that no checkpoint provides stay random for ever."""
    found = [(info, what) for info, what in subject.pairs if info.loaded is False and not what.trainable]
    if found:
        names = some([info.name for info, _ in found], 3)
        message = f"{len(found)} frozen tensors have no values from a checkpoint: they stay random ({names})"
        yield at_key(
            subject.place(found[0][1]),
            "FP406",
            message,
            help="start from the folder of a finished run, or make them trainable",
        )


def none_at_rest(subject: Subject) -> Iterator[Diagnostic]:
    """A number format for weights that never train, where all of them do at some time."""
    if subject.spec.model.frozen_dtype and all(what.trainable for _, what in subject.pairs):
        message = "`frozen_dtype` has no effect: every tensor trains in some phase, and stays as it is loaded"
        yield at_key(("model", "frozen_dtype"), "FP439", message, help="remove it", part=KeyPart.KEY)


def frozen_above_trainable(subject: Subject) -> Iterator[Diagnostic]:
    """A frozen layer above a trainable one still passes gradients: it saves no backward work."""
    for stack in subject.inventory.stacks:
        layers: dict[int, list[Assignment]] = {}
        for info, what in subject.pairs:
            if info.stack == stack.path and info.layer is not None:
                layers.setdefault(info.layer, []).append(what)
        lowest = min(
            (i for i, whats in layers.items() if any(what.trainable for what in whats)), default=None
        )
        above = [
            i
            for i, whats in layers.items()
            if lowest is not None and i > lowest and not any(w.trainable for w in whats)
        ]
        if above:
            verb = "is" if len(above) == 1 else "are"
            message = f"{_layers(above)} of `{stack.label}` {verb} frozen above the trainable layer {lowest}"
            yield at_key(
                subject.place(layers[above[0]][0]),
                "FP407",
                message,
                help="gradients still pass through them: freezing from the bottom up saves work",
            )


def _layers(found: list[int]) -> str:
    if len(found) == 1:
        return f"layer {found[0]}"
    return f"layers {listed(map(str, sorted(found)))}"


def falling_rates(subject: Subject) -> Iterator[Diagnostic]:
    """Learning rates usually grow from the embeddings over the layers to the heads."""
    ladder = [
        (name, _rates(subject.where(name, trainable=True))) for name in ("embeddings", "layers", "heads")
    ]
    steps = [(name, rates) for name, rates in ladder if rates]
    for (low, below), (high, above) in zip(steps, steps[1:], strict=False):
        if max(rate for rate, _ in below) > max(rate for rate, _ in above):
            fastest = max(below, key=lambda pair: pair[0])
            slower = max(rate for rate, _ in above)
            yield at_key(
                subject.place(fastest[1], "lr"),
                "FP408",
                f"the {low} learn faster ({format_rate(fastest[0])}) than the {high} ({format_rate(slower)})",
                help="the usual order is embeddings < layers < heads",
            )


def _rates(pairs: Sequence[tuple[ParamInfo, Assignment]]) -> list[tuple[float, Assignment]]:
    return [(what.lr, what) for _, what in pairs]


def absurd_rates(subject: Subject) -> Iterator[Diagnostic]:
    """No optimizer trains anything at such a rate; mostly the minus sign of an exponent is missing."""
    fast = [(info, what) for info, what in subject.pairs if what.trainable and what.lr > ABSURD_RATE]
    if fast:
        top = max((what for _, what in fast), key=lambda what: what.lr)
        message = f"{counted(len(fast), 'tensor')} would train at up to {format_rate(top.lr)}"
        help_ = f"learning rates are far below {format_rate(ABSURD_RATE)}{_with_minus(top.lr)}"
        yield at_key(subject.place(top, "lr"), "FP409", message, help=help_)


def _with_minus(rate: float) -> str:
    mantissa, _, exponent = f"{rate:e}".partition("e")
    meant = float(f"{mantissa}e-{abs(int(exponent))}")
    return f"; did you mean {meant:g}?" if meant >= LEAST_MEANT else ""


def high_rates(subject: Subject) -> Iterator[Diagnostic]:
    """A pre-trained tensor under a rate far above what fine-tuning uses forgets what it knew."""
    if any(what.trainable and what.lr > ABSURD_RATE for what in subject.kinds):
        return
    adaptive = {own.planned.label for own in subject.owners if own.planned.name.lower() in ADAPTIVE}
    pretrained = [pair for pair in subject.pairs if pair[0].loaded and "backbone" in pair[0].roles]
    high = [
        (info, what)
        for info, what in pretrained
        if what.trainable and what.lr > HIGH_ADAPTIVE_RATE and what.optimizer in adaptive
    ]
    if high:
        top = max(high, key=lambda pair: pair[1].lr)
        rate = format_rate(top[1].lr)
        message = f"{len(high)} pre-trained tensors train at up to {rate}, far above what fine-tuning uses"
        yield at_key(
            subject.place(top[1], "lr"),
            "FP409",
            message,
            help=f"pre-trained weights rarely bear more than {format_rate(HIGH_ADAPTIVE_RATE)}; "
            "1e-5 to 1e-4 is usual",
        )


def idle_rates(subject: Subject) -> Iterator[Diagnostic]:
    """A rate, or another number of the optimizer's, on what never trains has no effect."""
    for rule in subject.rules:
        numbers = [key for key in rule.settings if key not in ("state", "eval_mode")]
        for key in numbers:
            decided = subject.decided_by(rule, key)
            if decided and not any(what.trainable for what in decided):
                written = rule.settings[key].key
                message = f"`{written}` of rule `{rule.name}` is set on parameters that never train"
                yield at_key(
                    (*rule.path, written), "FP410", message, help="remove it, or make them trainable"
                )


def idle_eval_modes(subject: Subject) -> Iterator[Diagnostic]:
    """``eval_mode`` speaks of frozen parameters only."""
    for rule in subject.rules:
        if "eval_mode" not in rule.settings:
            continue
        decided = subject.decided_by(rule, "eval_mode")
        if decided and all(what.trainable for what in decided):
            message = f"`eval_mode` of rule `{rule.name}` is set on parameters that train anyway"
            yield at_key((*rule.path, "eval_mode"), "FP412", message, help="remove it")


def unused_pooler(subject: Subject) -> Iterator[Diagnostic]:
    """Heads of our own pool the last hidden states themselves: the backbone's own pooler gets no gradient."""
    pooler = subject.where("pooler", trainable=True)
    pooled = subject.spec.task and all(task.head != "native" for task in subject.spec.task)
    if pooled and pooler and not _of_a_preset(subject.rule_of(pooler[0][1])):
        message = f"{len(pooler)} tensors of `@pooler` are trainable, but no task head reads the pooler"
        yield at_key(
            subject.place(pooler[0][1]),
            "FP415",
            message,
            help='add a rule below: match = "@pooler", state = "frozen"',
        )


def _of_a_preset(rule: BoundRule | None) -> bool:
    """Whether the user did not write a rule, and cannot change it where it stands."""
    return rule is not None and rule.place is not None and rule.place.file.startswith(PRESET)


OF_A_PHASE: tuple[Callable[[Subject], Iterator[Diagnostic]], ...] = (
    everything_frozen,
    drifting_heads,
    frozen_above_trainable,
    falling_rates,
    absurd_rates,
    high_rates,
    unused_pooler,
)
