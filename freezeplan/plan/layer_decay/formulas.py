"""The published formulas of layer-wise learning-rate decay, under their own names.

A ladder has G = L + 2 rungs for a stack of L layers: rung 0 holds the embeddings, rung i + 1 layer i, and
rung L + 1 all the rest (heads, pooler, final norm). Where a stage is the unit, L counts stages, and rung i + 1
holds all of stage i. Each function returns the factor of one rung, as an exact decimal (``plan/rates.py`` says how
exact); the formulas differ by a power, by where the final norm stands, and by what the top of the ladder is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from freezeplan.plan.rates import EXACT, ONE, power

ULMFIT_RATE = EXACT.divide(ONE, Decimal("2.6"))
DINOV2_PATCH_EMBED = Decimal("0.2")


@dataclass(frozen=True)
class Ladder:
    """A stack's ladder: its length L in ``layers`` or ``stages``, and whether anything (a head) stands above it."""

    length: int
    has_rest: bool = True
    unit: str = "layers"

    @property
    def rest(self) -> int:
        """The rung of everything above the stack."""
        return self.length + 1


def beit(ladder: Ladder, rung: int, rate: Decimal) -> Decimal:
    """Return ``rate ** (L + 1 - rung)``: embeddings d^(L+1), top layer d, the rest 1.

    Source: Bao, Dong, Piao, Wei, "BEiT: BERT Pre-Training of Image Transformers", 2021,
    https://github.com/microsoft/unilm/blob/master/beit/optim_factory.py; the same numbers as MAE,
    mmpretrain and the corrected ELECTRA.

    >>> [float(beit(Ladder(12), rung, Decimal("0.8"))) for rung in (0, 11, 12, 13)]
    [0.0549755813888, 0.64, 0.8, 1.0]
    """
    return power(rate, ladder.length + 1 - rung)


def electra(ladder: Ladder, rung: int, rate: Decimal) -> Decimal:
    """Return ``rate ** (L + 2 - rung)`` below the rest: embeddings d^(L+2), top layer d squared, the rest 1.

    Source: Clark, Luong, Le, Manning, "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than
    Generators", 2020, https://github.com/google-research/electra/blob/master/model/optimization.py, as
    released; its author calls the extra power a small mistake (issue 51 there).

    >>> [float(electra(Ladder(12), rung, Decimal("0.8"))) for rung in (12, 13)]
    [0.64, 1.0]
    """
    return ONE if rung == ladder.rest else power(rate, ladder.length + 2 - rung)


def timm(ladder: Ladder, rung: int, rate: Decimal) -> Decimal:
    """Return ``rate`` to the distance from the top rung: all above the layers, or the top layer where nothing is.

    The final norm stands on the rung of the top layer (see :func:`rung_of_final_norm`). Source: Wightman,
    "PyTorch Image Models", 2019 onwards,
    https://github.com/huggingface/pytorch-image-models/blob/main/timm/optim/_param_groups.py

    >>> [float(timm(Ladder(2, has_rest), 0, Decimal("0.5"))) for has_rest in (True, False)]
    [0.125, 0.25]
    """
    top = ladder.rest if ladder.has_rest else ladder.length
    return power(rate, max(top - rung, 0))


def ulmfit(ladder: Ladder, rung: int, rate: Decimal) -> Decimal:
    """Return ``rate ** (G - 1 - rung)`` over G = L + 2 groups; the paper's rate is 1 / 2.6.

    Source: Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification", 2018,
    https://arxiv.org/abs/1801.06146 (AllenNLP rounds 1 / 2.6 to 0.38).

    >>> float(ulmfit(Ladder(6), 6, ULMFIT_RATE))
    0.38461538461538464
    """
    return power(rate, ladder.rest - rung)


def geometric(ladder: Ladder, rung: int, rate: Decimal) -> Decimal:
    """Return ``rate ** (1 - rung / (G - 1))``: even ratios from ``rate`` at the bottom to 1 at the top.

    ``rate`` is lo / hi of fastai's ``slice(lo, hi)``. Source: Howard and Gugger, "fastai: A Layered API for
    Deep Learning", 2020, https://arxiv.org/abs/2002.04688 (``even_mults``).

    >>> [float(geometric(Ladder(1), rung, Decimal("0.01"))) for rung in (0, 1, 2)]
    [0.01, 0.1, 1.0]
    """
    return power(rate, 1 - Fraction(rung, ladder.rest))


FORMULAS: dict[str, Callable[[Ladder, int, Decimal], Decimal]] = {
    "beit": beit,
    # DINOv2 (Oquab et al., 2023, https://arxiv.org/abs/2304.07193, `dinov2/utils/param_groups.py`) uses BEiT's
    # ladder, and multiplies the patch embedding once more.
    "dinov2": beit,
    "electra": electra,
    "geometric": geometric,
    "timm": timm,
    "ulmfit": ulmfit,
}


def rung_of_final_norm(formula: str, ladder: Ladder) -> int:
    """Return where the final norm stands: with the top layer for timm, with the rest for all others."""
    return ladder.length if formula == "timm" else ladder.rest


def rung_label(ladder: Ladder, rung: int) -> str:
    """Return a rung's name in group names: ``embeddings``, ``layer 3``, ``stage 3`` or ``rest``.

    >>> [rung_label(Ladder(2), rung) for rung in range(4)]
    ['embeddings', 'layer 0', 'layer 1', 'rest']
    """
    if rung == 0:
        return "embeddings"
    return "rest" if rung == ladder.rest else f"{ladder.unit.removesuffix('s')} {rung - 1}"
