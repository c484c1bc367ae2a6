"""What a preset may be refused for, and whether the reason given is true of the model."""

from __future__ import annotations

import re
from collections.abc import Callable

from freezeplan.diagnostics import Diagnostic
from freezeplan.inventory.records import Inventory, Stack

# Each code says what the model lacks, or which stacks there are.
REASONS = {
    "FP203": "the model has no such role",
    "FP204": "several stacks",
    "FP205": "the stack is shorter than the slice",
    "FP214": "not clear which modules are the layers",
    "FP215": "layers share their tensors",
    "FP305": "tied head",
    "FP411": "quantised weights",
    "FP416": "no stack of layers for a ladder",
    "FP417": "depth not clear",
}
ROLE = re.compile(r"`@(\w+)`( there)?$")


def is_founded(problem: Diagnostic, found: Inventory) -> bool:
    """Tell whether a refusal has one of the reasons, and the inventory bears it out."""
    return problem.code in REASONS and GROUNDS[problem.code](problem.message, found)


def _main(found: Inventory) -> list[Stack]:
    return [stack for stack in found.stacks if stack.main]


def _lacks_role(message: str, found: Inventory) -> bool:
    """A role is absent from the whole model; presets scope roles by nothing but `@backbone`."""
    named = ROLE.search(message)
    if named is None:
        return not _main(found)
    scope = {"backbone"} if named[2] else set()
    return not any({named[1], *scope} <= info.roles for info in found.params)


GROUNDS: dict[str, Callable[[str, Inventory], bool]] = {
    "FP203": _lacks_role,
    "FP204": lambda message, found: len(_main(found)) > 1,
    "FP205": lambda message, found: any(stack.length < 2 for stack in _main(found)),
    "FP214": lambda message, found: bool(found.doubts),
    "FP215": lambda message, found: any(stack.shared for stack in _main(found)),
    "FP305": lambda message, found: any(info.alias_of for info in found.params),
    "FP411": lambda message, found: any(info.quantized for info in found.params),
    "FP416": lambda message, found: not _main(found),
    "FP417": lambda message, found: len({stack.length for stack in _main(found)}) > 1,
}
