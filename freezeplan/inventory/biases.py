"""Tells biases: what is added to a layer's outputs, whatever its shape and wherever in its name it says so."""

from __future__ import annotations

from math import prod

from freezeplan.inventory.records import ParamInfo
from freezeplan.inventory.structure import Tree, last

WORDS = frozenset({"bias", "biases"})


def is_bias(tree: Tree, info: ParamInfo) -> bool:
    """Tell whether a parameter is a bias: a vector that is called so, or one for each of several stacked layers.

    The word stands at the beginning or at the end of its own name: `bias`, `bias_ih_l0`, `bias_k`, `in_proj_bias`.
    Axes of length 1 do not count. A tensor of more axes is a bias beside the weight that it belongs to, which has the
    same first axis, one for each expert, and more axes; tables of relative positions have no such weight. One with a
    row for each head (`r_w_bias` of XLNet, `pos_bias_u` of Conformers) is as large as what a layer beside it puts out.
    """
    words = last(info.name).lower().split("_")
    if words[0] in WORDS or words[-1].endswith(("bias", "biases")):
        return is_vector(info.shape) or _is_stacked(tree, info) or _is_per_head(tree, info)
    return _is_per_head(tree, info)


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


def _is_per_head(tree: Tree, info: ParamInfo) -> bool:
    words = last(info.name).lower().split("_")
    ends = words[-1] == "bias" or (len(words) > 1 and words[-2] == "bias" and len(words[-1]) == 1)
    if not ends or len(info.shape) != 2 or is_vector(info.shape):
        return False
    own = [other for other in tree.own.get(info.module, ()) if other is not info]
    if any(_belongs(last(other.name), last(info.name)) for other in own):
        return False
    beside = [other for other in tree.below(info.module) if other.module != info.module]
    return any(other.shape[-2:] == info.shape and len(other.shape) > 2 for other in own) or any(
        len(other.shape) == 2 and other.shape[0] == prod(info.shape) for other in beside
    )


def _belongs(weight: str, bias: str) -> bool:
    """Tell by their names whether a bias belongs to a weight: `down_proj_bias` to `down_proj`, `bias` to `weight`."""
    stem = bias.lower().removesuffix("bias").rstrip("_")
    return weight.lower() in (stem, f"{stem}_weight", f"{stem}weight", stem or "weight")
