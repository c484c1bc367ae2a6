"""What a host logs of a plan's rates."""

from __future__ import annotations

from collections.abc import Mapping


def logged_rates(rates: Mapping[str, float]) -> dict[str, float]:
    """Return groups' rates by the names that they are logged under.

    A store of files cannot have `lr/head` and `lr/head/no_decay`: one would be a file and a folder.

    >>> logged_rates({"head": 0.1, "head/no_decay": 0.2})
    {'lr/head': 0.1, 'lr/head.no_decay': 0.2}
    """
    return {f"lr/{name.replace('/', '.')}": rate for name, rate in rates.items()}
