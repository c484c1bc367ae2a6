"""Compare roles, multipliers and weight decays of timm's models with what timm itself says of them.

``python -m benchmarks.timm_agreement`` builds the first model of each of timm's families and every model of twelve of
them on the meta device, and asks four questions of each:

- *layers*: the blocks of ``@layers``, in order, are those that the model's ``group_matcher(coarse=False)`` numbers,
  each with nothing beside it but what timm puts into the same group. Where timm numbers whole stages, they are
  compared with ``@stages``, and that is said;
- *heads*: ``@heads`` is what ``get_classifier()`` returns;
- *multipliers*: ``layer_decay`` with ``formula = "timm"`` gives the ``lr_scale`` of timm's
  ``param_groups_layer_decay``, to the bit;
- *decays*: ``no_decay = "timm"`` gives the weight decays of that function, with the model's ``no_weight_decay()``.

An answer is right, refused (a diagnostic gives a reason) or wrong: nothing says that it is. It prints the shares and
the names of all that are not right; the exit status is 1 where anything is wrong. ``--families a,b`` for the first
model of some families only, ``--all a,b`` for all models of others than the twelve (``--all ""`` of none).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.timm_models import families, import_timm, meta_timm, sizes_of
from freezeplan.api import compile_plan
from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.groupings import Grouping, grouping_of, groups_of
from freezeplan.inventory.records import Inventory
from freezeplan.plan.records import Plan

RATE, WEIGHT_DECAY = 0.65, 0.05
TWELVE = (
    "beit",
    "convnext",
    "deit",
    "efficientnet",
    "eva",
    "maxxvit",
    "mobilenetv3",
    "mvitv2",
    "regnet",
    "resnet",
    "swin_transformer",
    "vision_transformer",
)
RIGHT, REFUSED, WRONG, UNASKED = "right", "refused", "wrong", "not asked"
STAGES = "timm numbers whole stages, and they are `@stages`"


@dataclass(frozen=True)
class Answer:
    """What became of one question about one model, and the reason or the first difference."""

    outcome: str
    why: str = ""


@dataclass
class Row:
    """Hold a model's answers by question."""

    name: str
    answers: dict[str, Answer] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """One of timm's models, its inventory, and the plan of a spec that decays by timm's rules."""

    model: Any
    inventory: Inventory
    names: dict[int, str]

    @classmethod
    def of(cls, model: Any) -> Subject:
        """Look at a model; names are of each tensor's first."""
        return cls(
            model, inventory_of(model), {id(tensor): name for name, tensor in model.named_parameters()}
        )

    def plan(self, pattern: str, **more: Any) -> Plan:
        """Compile a plan that trains what a pattern selects, in timm's way."""
        rules = [{"match": pattern, "state": "trainable", **more}]
        if pattern != "**":
            rules = [{"match": "**", "state": "frozen"}, *rules]
        optimizer = {"lr": 1.0, "weight_decay": WEIGHT_DECAY, "no_decay": "timm"}
        return compile_plan(self.inventory, {"optimizer": optimizer, "rule": rules})

    def trained(self, pattern: str) -> set[str]:
        """Return the names that a pattern selects."""
        return {name for group in self.plan(pattern).groups for name in group.members}


def layers(subject: Subject) -> Answer:
    """Compare the layers with timm's blocks; where timm numbers whole stages, compare the stages."""
    grouping = grouping_of(subject.model, subject.names.values())
    if not grouping or not grouping.blocks:
        return Answer(UNASKED, "timm numbers no blocks")
    subject.trained("@layers")
    main = [stack for stack in subject.inventory.stacks if stack.main]
    ours = [names for stack in main for span in stack.spans if (names := _below(subject, span))]
    stages = [names for stack in main for paths in stack.stages if (names := _below(subject, paths))]
    if _are_blocks(subject, ours, grouping) or ours == _groups(subject):
        return Answer(RIGHT)
    if stages and _are_blocks(subject, stages, grouping):
        return Answer(RIGHT, STAGES)
    found = ", ".join(f"{stack.path or 'the root'} ({stack.length})" for stack in main)
    return Answer(
        WRONG, f"{found}; timm's {len(grouping.blocks)}: {grouping.blocks[0]} … {grouping.blocks[-1]}"
    )


def _are_blocks(subject: Subject, ours: list[set[str]], grouping: Grouping) -> bool:
    """Tell whether each holds one block of timm's, in order, and beside it nothing but what timm groups with it."""
    if len(ours) != len(grouping.blocks):
        return False
    for found, path in zip(ours, grouping.blocks, strict=True):
        block = _below(subject, (path,))
        rungs = {grouping.rungs[name] for name in block}
        if not block <= found or not all(grouping.rungs[name] in rungs for name in found):
            return False
    return True


def _groups(subject: Subject) -> list[set[str]]:
    return [set(names) for names in groups_of(subject.model, subject.names.values(), coarse=False)]


def _below(subject: Subject, paths: Iterable[str]) -> set[str]:
    return {name for name in subject.names.values() for path in paths if name.startswith(path + ".")}


def heads(subject: Subject) -> Answer:
    """Compare the head's tensors; a model without one must refuse the role."""
    theirs = {subject.names[id(tensor)] for tensor in _classifier(subject.model)}
    try:
        ours = subject.trained("@heads")
    except DiagnosticError as error:
        if not theirs and [item.code for item in error.diagnostics] == ["FP203"]:
            return Answer(RIGHT)
        raise
    return Answer(RIGHT) if ours == theirs else Answer(WRONG, _difference(ours, theirs))


def _classifier(model: Any) -> Iterator[Any]:
    found = model.get_classifier()
    for module in found if isinstance(found, (tuple, list)) else [found]:
        yield from module.parameters()


def multipliers(subject: Subject) -> Answer:
    """Compare the factors of layer decay, bit by bit."""
    plan = subject.plan("**", layer_decay={"formula": "timm", "rate": RATE})
    ours = {name: group.lr[0] for group in plan.groups for name in group.members}
    return _compared(ours, _by_timm(subject, "lr_scale"))


def decays(subject: Subject) -> Answer:
    """Compare the weight decays."""
    ours = {name: group.weight_decay[0] for group in subject.plan("**").groups for name in group.members}
    return _compared(ours, _by_timm(subject, "weight_decay"))


def _compared(ours: dict[str, Any], theirs: dict[str, Any]) -> Answer:
    different = [name for name in theirs if ours.get(name) != theirs[name]]
    if not different and ours.keys() == theirs.keys():
        return Answer(RIGHT)
    name = next(iter([*different, *(ours.keys() - theirs.keys())]))
    return Answer(
        WRONG, f"{len(different)} of {len(theirs)}; {name}: {ours.get(name)}, timm {theirs.get(name)}"
    )


def _by_timm(subject: Subject, key: str) -> dict[str, Any]:
    from timm.optim import param_groups_layer_decay

    listed = getattr(subject.model, "no_weight_decay", set)()
    groups = param_groups_layer_decay(
        subject.model, weight_decay=WEIGHT_DECAY, no_weight_decay_list=listed, layer_decay=RATE
    )
    return {subject.names[id(tensor)]: group[key] for group in groups for tensor in group["params"]}


def _difference(ours: set[str], theirs: set[str]) -> str:
    return f"ours alone {sorted(ours - theirs)[:3]}, timm's alone {sorted(theirs - ours)[:3]}"


QUESTIONS: dict[str, Callable[[Subject], Answer]] = {
    "layers": layers,
    "heads": heads,
    "multipliers": multipliers,
    "decays": decays,
}


def row_of(name: str) -> Row:
    """Ask all questions of one model."""
    subject = Subject.of(meta_timm(name))
    return Row(name, {question: _answer(ask, subject) for question, ask in QUESTIONS.items()})


def _answer(ask: Callable[[Subject], Answer], subject: Subject) -> Answer:
    try:
        return ask(subject)
    except DiagnosticError as error:
        first = error.diagnostics[0]
        return Answer(REFUSED, f"{first.code} {first.message}")


def print_rows(title: str, rows: list[Row]) -> bool:
    """Print the shares and what is not right; tell whether nothing is wrong."""
    print(f"{title} ({len(rows)} models)")
    for question in QUESTIONS:
        answers = [row.answers[question] for row in rows]
        asked = max(sum(item.outcome != UNASKED for item in answers), 1)
        counts = {what: sum(item.outcome == what for item in answers) for what in (RIGHT, REFUSED, WRONG)}
        shares = "  ".join(f"{what} {count:4} = {count / asked:6.1%}" for what, count in counts.items())
        print(f"  {question:12} of {asked:4}: {shares}")
    for row in rows:
        for question, item in row.answers.items():
            if item.outcome != RIGHT or item.why:
                print(f"  {item.outcome}: {question} of {row.name}: {item.why[:200]}")
    return not any(item.outcome == WRONG for row in rows for item in row.answers.values())


def main() -> int:
    """Read the arguments, ask of each model, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--families", default="")
    parser.add_argument("--all", default=None)
    arguments = parser.parse_args()
    if import_timm() is None:
        print("timm is not installed")
        return 1
    wanted = _listed(arguments.families) or families()
    default = [] if arguments.families else list(TWELVE)
    full = default if arguments.all is None else _listed(arguments.all)
    right = print_rows("the first model of each family", [row_of(sizes_of(family)[0]) for family in wanted])
    for family in full:
        right &= print_rows(family, [row_of(name) for name in sizes_of(family)])
    return 0 if right else 1


def _listed(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


if __name__ == "__main__":
    sys.exit(main())
