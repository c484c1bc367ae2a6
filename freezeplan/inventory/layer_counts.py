"""Tells which attributes of a config count layers, by the words in their names."""

from __future__ import annotations

import re
from typing import Any

Count = int | tuple[int, ...]

# Something that is stacked must be named; no other number of a config is taken for a count.
STACKED = frozenset(
    {"layer", "layers", "block", "blocks", "depth", "depths", "stage", "stages", "group", "groups"}
)
# Words that do not say of which part the layers are: num_hidden_layers counts layers, while
# num_feat_extract_layers, resampler_depth or pred_num_hidden_layers count those of some part.
PLAIN = STACKED | {
    "n", "num", "number", "of", "per", "hidden", "sizes", "type", "types",
    "encoder", "decoder", "text", "vision", "image", "video", "audio", "speech", "language",
}  # fmt: skip


def words(name: str) -> list[str]:
    """Return the words of an attribute's name, in lower case.

    >>> words("num_hidden_layers")
    ['num', 'hidden', 'layers']
    """
    return [word for word in re.split(r"[_\d]+", name.lower()) if word]


def counts_something(name: str) -> bool:
    """Tell whether an attribute's name says that it is about stacked things.

    >>> counts_something("resampler_depth"), counts_something("num_attention_heads")
    (True, False)
    """
    return not STACKED.isdisjoint(words(name))


def is_plain_count(name: str) -> bool:
    """Tell whether an attribute counts layers without saying of which part of the model.

    >>> is_plain_count("encoder_layers"), is_plain_count("num_feat_extract_layers")
    (True, False)
    """
    return counts_something(name) and PLAIN.issuperset(words(name))


def as_count(value: Any) -> Count | None:
    """Return a value as one count, or as one count per stage; None when it is neither."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value > 0 else None
    if isinstance(value, (list, tuple)) and value and all(_is_count(item) for item in value):
        return tuple(value)
    return None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
