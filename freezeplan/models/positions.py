"""How many tokens a model of texts takes."""

from __future__ import annotations

from typing import Any

LONGEST = 512
UNLIMITED = 10**9


def most_positions(model: Any) -> int:
    """Return the most tokens of a text that a model has positions for; 10**9 where its config names no limit.

    The positions that RoBERTa-like embeddings give to padding, and never to a text, do not count.
    """
    config = getattr(model, "config", None)
    found = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions")]
    limit = min([number for number in found if isinstance(number, int) and number > 0], default=UNLIMITED)
    return limit - _reserved(model)


def _reserved(model: Any) -> int:
    for name, module in model.named_modules():
        padding = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and isinstance(padding, int):
            return padding + 1
    return 0
