"""What a block of a stack gives back, learnt from one call, so that a replay can give it back without running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import torch

from freezeplan.prefix.refusal import Reason, Refused

Args = Sequence[Any]
Kwargs = Mapping[str, Any]
PLAIN = (type(None), bool, int, float, str)


@dataclass(frozen=True)
class Passed:
    """Stand for an argument that a block hands on: its position, or its keyword."""

    place: int | str


@dataclass(frozen=True)
class Constant:
    """Stand for a plain value that a block returns beside its hidden states."""

    value: Any


@dataclass(frozen=True)
class Computed:
    """Stand for a tensor that a block works out beside its hidden states, at a place of its output."""

    place: int


@dataclass(frozen=True)
class Form:
    """Describe a block's output: hidden states, alone or first in a tuple, and what comes with them.

    ``like_input`` tells that the hidden states have the shape of the input; otherwise they have ``tail``
    behind the batch dimension.
    """

    in_tuple: bool
    like_input: bool
    tail: tuple[int, ...]
    dtype: torch.dtype
    others: tuple[Passed | Constant | Computed, ...]

    @property
    def computes(self) -> bool:
        """Whether the block works out another tensor beside its hidden states."""
        return any(isinstance(other, Computed) for other in self.others)

    def phantom(self, args: Args, kwargs: Kwargs) -> torch.Tensor:
        """Return hidden states of the right shape that are all NaN: whoever reads them shows it.

        It is one number seen through strides of 0, so it costs no memory.
        """
        entering = hidden_input(args, kwargs)
        shape = entering.shape if self.like_input else (len(entering), *self.tail)
        return torch.full((), nan, dtype=self.dtype, device=entering.device).expand(shape)

    def output(self, hidden: torch.Tensor, args: Args, kwargs: Kwargs, real: Any = None) -> Any:
        """Return what the block would have returned around ``hidden``; ``real`` is its output where it ran."""
        if not self.in_tuple:
            return hidden
        return (hidden, *(self._other(other, hidden, args, kwargs, real) for other in self.others))

    def _other(self, other: Any, hidden: torch.Tensor, args: Args, kwargs: Kwargs, real: Any) -> Any:
        if isinstance(other, Passed):
            return args[other.place] if isinstance(other.place, int) else kwargs[other.place]
        if isinstance(other, Constant):
            return other.value
        return torch.full((), nan, device=hidden.device) if real is None else real[other.place]


def hidden_input(args: Args, kwargs: Kwargs) -> torch.Tensor:
    """Return the hidden states that a block is called with: its first tensor."""
    for value in (*args[:1], kwargs.get("hidden_states"), *args[1:], *kwargs.values()):
        if isinstance(value, torch.Tensor):
            return value
    raise Refused(Reason.NO_HIDDEN_STATES, "they are called without a tensor")


def hidden_output(output: Any) -> torch.Tensor:
    """Return the hidden states that a block returns; raises :class:`Refused` when there are none."""
    hidden = output[0] if type(output) is tuple and output else output
    if not isinstance(hidden, torch.Tensor) or not hidden.is_floating_point() or hidden.dim() < 2:
        raise Refused(Reason.NO_HIDDEN_STATES, f"they return a {type(output).__name__}")
    return hidden


def form_of(args: Args, kwargs: Kwargs, output: Any) -> Form:
    """Describe a block's output from one call; raises :class:`Refused` when it cannot be given back."""
    hidden, entering = hidden_output(output), hidden_input(args, kwargs)
    if len(hidden) != len(entering):
        raise Refused(Reason.NOT_PER_EXAMPLE, f"a block turns {len(entering)} rows into {len(hidden)}")
    others = output[1:] if isinstance(output, tuple) else ()
    return Form(
        in_tuple=isinstance(output, tuple),
        like_input=hidden.shape == entering.shape,
        tail=tuple(hidden.shape[1:]),
        dtype=hidden.dtype,
        others=tuple(_described(item, place, args, kwargs) for place, item in enumerate(others, 1)),
    )


def _described(item: Any, place: int, args: Args, kwargs: Kwargs) -> Passed | Constant | Computed:
    if isinstance(item, PLAIN):
        return Constant(item)
    for key, value in (*enumerate(args), *kwargs.items()):
        if value is item:
            return Passed(key)
    if isinstance(item, torch.Tensor):
        return Computed(place)
    raise Refused(Reason.NO_HIDDEN_STATES, f"they return a {type(item).__name__} beside them")
