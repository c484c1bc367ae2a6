"""Tells biases: what is added to a layer's outputs, whatever its shape and wherever in its name it says so."""

from __future__ import annotations

from freezeplan.inventory.records import ParamInfo
from freezeplan.inventory.structure import Tree, last

WORDS = frozenset({"bias", "biases"})


def is_bias(tree: Tree, info: ParamInfo) -> bool:
    """Tell whether a parameter is a bias: a vector that is called so, or one for each of several stacked layers.

    The word stands at the beginning or at the end of its own name: `bias`, `bias_ih_l0`, `bias_k`, `in_proj_bias`.
    Axes of length 1 do not count. A tensor of more axes is a bias beside the weight that it belongs to, which has the
    same first axis, one for each expert, and more axes; tables of relative positions have no such weight.
    """
    words = last(info.name).lower().split("_")
    if not (words[0] in WORDS or words[-1].endswith(("bias", "biases"))):
        return False
    return is_vector(info.shape) or _is_stacked(tree, info)


def is_vector(shape: tuple[int, ...]) -> bool:
    """Tell whether a tensor is a vector, with or without axes of length 1 to broadcast along.

    >>> is_vector((64,)), is_vector((1, 64, 1, 1)), is_vector((4, 64))
    (True, True, False)
    """
    return sum(size != 1 for size in shape) <= 1


def _is_stacked(tree: Tree, info: ParamInfo) -> bool:
    weights = [
        other for other in tree.own.get(info.module, ()) if _belongs(last(other.name), last(info.name))
    ]
    return any(len(weight.shape) > len(info.shape) and weight.shape[0] == info.shape[0] for weight in weights)


def _belongs(weight: str, bias: str) -> bool:
    """Tell by their names whether a bias belongs to a weight: `down_proj_bias` to `down_proj`, `bias` to `weight`."""
    stem = bias.lower().removesuffix("bias").rstrip("_")
    return weight.lower() in (stem, f"{stem}_weight", f"{stem}weight", stem or "weight")
