"""What is logged of a plan's rates, by names that every tracker takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

OTHERS = re.compile(r"[^A-Za-z0-9_.-]+")
"""What MLflow refuses in a name, TensorBoard replaces, or a store of files cannot have in one."""


def logged_rates(rates: Mapping[str, float]) -> dict[str, float]:
    """Return groups' rates by the names that they are logged under.

    >>> logged_rates({"head": 0.1, "head/no_decay": 0.2, "@layers[-1:]": 0.3})
    {'lr/head': 0.1, 'lr/head.no_decay': 0.2, 'lr/layers_-1': 0.3}
    """
    names = logged_names(rates)
    return {f"lr/{names[name]}": rate for name, rate in rates.items()}


def logged_names(names: Iterable[str]) -> dict[str, str]:
    """Return one name of letters, digits, `_`, `.` and `-` for each name, all different.

    A store of files cannot have `head` and `head/no_decay`: one would be a file and a folder.

    >>> logged_names(["head/no_decay", "@norm", "norm"])
    {'head/no_decay': 'head.no_decay', '@norm': 'norm', 'norm': 'norm_2'}
    """
    found: dict[str, str] = {}
    for name in names:
        plain = OTHERS.sub("_", name.replace("/", ".")).strip("_") or "group"
        numbered = (f"{plain}_{number}" for number in range(2, len(found) + 3))
        taken = set(found.values())
        found[name] = plain if plain not in taken else next(item for item in numbered if item not in taken)
    return found
