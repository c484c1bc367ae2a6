"""Which strategies to try next: a ladder from the heads alone up to everything, climbed where scores are higher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from freezeplan.choose.strategies import ALL, EMBEDDINGS, FEATURES, GRADUAL, HEADS, LLRD, LP_FT, TOP

WHOLE = (LP_FT, ALL, LLRD, EMBEDDINGS)
"""What trains the whole network, the one to try first in front."""


def ladder_of(names: Sequence[str]) -> list[str]:
    """Return the strategies that differ by how much trains, from the least on.

    The heads stand on it where no linear probe shows what they can do; one strategy stands for all that train
    everything, heads that begin with a probe before heads that begin at random (Kumar et al., 2022,
    https://arxiv.org/abs/2202.10054).

    >>> ladder_of(["features", "heads", "top1", "top2", "gradual", "all", "lp_ft"])
    ['top1', 'top2', 'lp_ft']
    """
    heads = [HEADS] if HEADS in names and FEATURES not in names else []
    tops = sorted((name for name in names if _is_top(name)), key=lambda name: int(name.removeprefix(TOP)))
    return [*heads, *tops, *[name for name in WHOLE if name in names][:1]]


def _is_top(name: str) -> bool:
    return name.startswith(TOP) and name.removeprefix(TOP).isdecimal()


def next_trials(names: Sequence[str], scores: Mapping[str, float], *, clear: bool) -> list[str]:
    """Return what to try next, given the scores so far; nothing where that would change little.

    The middle of the ladder and its upper end come first, then the neighbours of the best, until they are all tried:
    a search for the top of a curve with one peak, after Kiefer (Sequential Minimax Search for a Maximum, 1953,
    https://doi.org/10.1090/S0002-9939-1953-0055639-3). Where everything trains in the best one, and it is ``clear``
    that this helps, rates that fall with depth are tried too.

    >>> next_trials(["features", "top1", "top2", "top4", "lp_ft"], {"features": 0.7}, clear=False)
    ['top2', 'lp_ft']
    >>> next_trials(["features", "top1", "top2"], {"features": 0.7, "top1": 0.6, "top2": 0.6}, clear=False)
    []
    """
    ladder = ladder_of(names)
    if not ladder:
        return [name for name in names if name not in scores and name != FEATURES]
    first = dict.fromkeys([ladder[(len(ladder) - 1) // 2], ladder[-1]])
    if missing := [name for name in first if name not in scores]:
        return missing
    best = max(scores, key=lambda name: scores[name])
    place = ladder.index(best) if best in ladder else -1 if best == FEATURES else len(ladder) - 1
    beside = [ladder[at] for at in (place - 1, place + 1) if 0 <= at < len(ladder)]
    found = [name for name in beside if name not in scores]
    if not found and clear and best in WHOLE and LLRD in names and LLRD not in scores:
        return [LLRD]
    return found


def reason_untried(name: str, names: Sequence[str]) -> str:
    """Say why a strategy was not tried."""
    if name == HEADS and FEATURES in names:
        return "linear probes show what heads can do"
    if name in WHOLE and name not in (LLRD, ladder_of(names)[-1]):
        return f"{ladder_of(names)[-1]} stands for it"
    if name == GRADUAL:
        return "it trains as much as others that were tried, in another order"
    return "those beside it on the ladder did better"
