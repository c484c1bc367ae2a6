"""Which way of sharing a run among processes a spec asks for, and what stands against sharing out its tensors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.diagnostics.wording import quoted
from freezeplan.inventory.records import Inventory
from freezeplan.inventory.structure import is_under
from freezeplan.plan.records import Plan
from freezeplan.spec.tables import Spec

KEY = ("train", "strategy")
# Their step makes of each number what it would make of it alone, so parts of a tensor can be stepped apart. So does
# that of Rprop, but torch cannot run it over such parts.
BY_NUMBER = frozenset(
    ["ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "SGD"]
)


def way_of_sharing(spec: Spec, count: int) -> str:
    """Return the way in which so many processes share a run: ``single``, ``replicate`` or ``shard``.

    Raises ``DiagnosticError`` (FP561) for several processes where one is allowed.
    """
    asked = spec.train.strategy
    if asked == "single" and count > 1:
        message = f'`strategy = "single"` is for one process, and there are {count}'
        advice = "start one process, or write `replicate` or `shard`"
        raise DiagnosticError([spec.locations.report(KEY, "FP561", message, help=advice)])
    if count == 1:
        return "single"
    return "shard" if asked == "shard" else "replicate"


def against_sharing_out(spec: Spec, plan: Plan, inventory: Inventory) -> Iterator[Diagnostic]:
    """Yield what stands against giving each process a part of every tensor (FP561)."""
    for item in plan.working:
        if item.name not in BY_NUMBER:
            message = f"{item.kind} needs tensors as a whole, and each process would have a part of them"
            advice = "use an optimizer that does not, such as `adamw`; or `replicate`"
            yield spec.locations.report(KEY, "FP561", message, help=advice)
    if spec.train.balancing is not None:
        message = "`balancing` compares the gradients of tasks as a whole, and each process would have a part of them"
        yield spec.locations.report(
            ("train", "balancing"), "FP561", message, help="remove it, or write `replicate`"
        )
    if spec.train.precision == "fp16":
        message = "`fp16` leaves out a step in which a gradient overflows, and each process would see a part of them"
        yield spec.locations.report(("train", "precision"), "FP561", message, help="write `bf16`")
    for finding in (_mixed(plan, inventory), _routed(plan, inventory)):
        if finding is not None:
            yield spec.locations.report(KEY, "FP561", finding, help="write `replicate`")


def _mixed(plan: Plan, inventory: Inventory) -> str | None:
    """Say in which layer tensors of several number formats train, or rest beside others: it is shared out as one.

    Its gradients are added up as one array, and its resting tensors widened to one format.
    """
    layers = [path for stack in inventory.stacks for span in stack.spans for path in span]
    units = {p.name: next((path for path in layers if is_under(p.name, path)), "") for p in plan.params}
    trained, resting = set(plan.ever_trained), {units[name] for name in plan.at_rest}
    kinds: dict[str, set[str]] = defaultdict(set)
    for param in plan.params:
        if param.name in trained or units[param.name] in resting:
            kinds[units[param.name]].add(param.dtype)
    for unit, found in kinds.items():
        if len(found) > 1:
            where = f"`{unit}`" if unit else "what is around the layers"
            what = "rest or train" if unit in resting else "train"
            return f"tensors of {' and '.join(sorted(found))} {what} in {where}: it is shared out as one"
    return None


def _routed(plan: Plan, inventory: Inventory) -> str | None:
    """Say which experts train that are modules of their own: a process whose rows reach none would not run it."""
    trained = plan.ever_trained
    for home in inventory.role_nodes.get("experts", ()):
        inside = [name for name in trained if is_under(name, home)]
        stacked = [info for info in inventory.tensors if info.name in inside and len(info.shape) == 3]
        if inside and not stacked:
            return f"the experts in {quoted([home])} are modules of their own, and rows of one process may reach none"
    return None
