"""How the steps of an epoch are shared among tasks of different sizes: exactly, and none is left without."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor


def temperature_shares(sizes: Mapping[str, int], temperature: float) -> dict[str, float]:
    """Return the share of rows that each task has, in proportion to its own to the power of ``1 / temperature``.

    1 keeps the proportions of the sizes; the larger, the more alike the shares are. This is the temperature-scaled
    mixing of Raffel et al., Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer, 2020,
    https://arxiv.org/abs/1910.10683, section 3.5.2, without its limit on the size of a data set.

    >>> {name: round(share, 2) for name, share in temperature_shares({"a": 900, "b": 100}, 2.0).items()}
    {'a': 0.75, 'b': 0.25}
    """
    largest = max(sizes.values())
    powers = {name: (size / largest) ** (1 / temperature) for name, size in sizes.items()}
    total = sum(powers.values())
    return {name: power / total for name, power in powers.items()}


def quotas(count: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Divide ``count`` among names in proportion to their shares; each gets one at least.

    ``count`` is at least the number of names. Names whose quota is below one get one, and the others share the rest;
    what whole numbers leave over goes to the largest remainders, of equal ones to those that come first.

    >>> quotas(10, {"a": 0.68, "b": 0.27, "c": 0.05})
    {'a': 6, 'b': 3, 'c': 1}
    """
    total = sum(shares.values())
    exact = {name: count * share / total for name, share in shares.items()}
    large = {name: shares[name] for name, quota in exact.items() if quota >= 1.0}
    if len(large) < len(shares):
        rest = quotas(count - len(shares) + len(large), large)
        return {name: rest.get(name, 1) for name in shares}
    whole = {name: floor(quota) for name, quota in exact.items()}
    by_remainder = sorted(exact, key=lambda name: whole[name] - exact[name])
    for name in by_remainder[: count - sum(whole.values())]:
        whole[name] += 1
    return whole
