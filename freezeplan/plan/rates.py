"""Learning rates as the decimals they are written in: products are worked out to 200 digits and rounded once.

A float is taken for the shortest decimal that reads back as it, which is the number that the spec holds. Whole
powers and products are then exact as far as 200 digits go; other powers, and 1/2.6, are right to 200 digits. What
comes out is the float nearest to that; so 3e-5 x 10 is 3e-4, and 0.8 squared is 0.64, not their neighbours.
"""

from __future__ import annotations

from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext
from fractions import Fraction
from math import prod

# No traps: what no float can hold becomes infinite or 0, and is reported as such (FP418).
EXACT = Context(prec=200, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
ONE = Decimal(1)


def exact(number: float) -> Decimal:
    """Return the decimal that a number is written as.

    >>> exact(3e-5)
    Decimal('0.00003')
    """
    return Decimal(repr(number))


def power(base: Decimal, exponent: Fraction | int) -> Decimal:
    """Return a power to 200 digits.

    >>> power(exact(0.8), 2), float(power(exact(0.01), Fraction(1, 2)))
    (Decimal('0.64'), 0.1)
    """
    with localcontext(EXACT):
        exponent = Fraction(exponent)
        return base ** (Decimal(exponent.numerator) / Decimal(exponent.denominator))


def product(*factors: Decimal) -> Decimal:
    """Return a product to 200 digits.

    >>> product(exact(3e-5), exact(10.0))
    Decimal('0.000300')
    """
    with localcontext(EXACT):
        return prod(factors, start=ONE)


def times(base: float, factor: float) -> float:
    """Multiply two numbers as they are written.

    >>> times(3e-5, 10.0)
    0.0003
    """
    return float(product(exact(base), exact(factor)))
