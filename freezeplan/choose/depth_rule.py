"""From which depth on features stop getting better: the rule of one standard error."""

from __future__ import annotations

from collections.abc import Sequence

from freezeplan.choose.outcomes import Outcome


def best_of(outcomes: Sequence[Outcome]) -> int:
    """Return the place of the highest score, the first of equal ones."""
    scores = [outcome.score for outcome in outcomes]
    return scores.index(max(scores))


def first_enough(outcomes: Sequence[Outcome]) -> int:
    """Return the first place whose score falls short of the best by at most one standard error of the difference.

    The rule of one standard error (Breiman, Friedman, Olshen and Stone, Classification and Regression Trees, 1984,
    section 3.4.3): of what cannot be told apart from the best, take the simplest. The difference is between two scores
    on the same rows, and so is its error.

    >>> import numpy
    >>> from freezeplan.choose.outcomes import share_of_hits
    >>> right = numpy.arange(100)
    >>> first_enough([share_of_hits(right < 50), share_of_hits(right >= 12), share_of_hits(right < 90)])
    1
    """
    best = outcomes[best_of(outcomes)]
    for place, outcome in enumerate(outcomes):
        short, error = best.beyond(outcome)
        if short <= error:
            return place
    raise AssertionError("the best falls short of itself by nothing")
