"""What a backbone holds at every depth: watched while it runs as it is, one vector per row or per word."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from freezeplan.inventory.records import Stack
from freezeplan.models.multitask import MultiTaskModel
from freezeplan.prefix import Refused
from freezeplan.prefix.forms import hidden_input, hidden_output

INPUT = "the input of the first layer"
Batch = Mapping[str, torch.Tensor]
Keep = Callable[[torch.Tensor], torch.Tensor]


class NoDepths(Exception):
    """Say why nothing can be told of a model's depths."""


@dataclass(frozen=True)
class Seen:
    """Hold what one batch gave at each depth, and the paths of the layers that ran, in their order."""

    layers: tuple[str, ...]
    kept: tuple[torch.Tensor, ...]


def watched(model: MultiTaskModel, stacks: Sequence[Stack], batch: Batch, keep: Keep) -> Seen:
    """Run a batch through the backbone; return what ``keep`` makes of the states at each depth.

    Depth 0 is what enters the first layer that runs, each further one what a layer puts out, the last one what the
    whole backbone does. A layer that runs several times counts each time. Raises :class:`NoDepths`.
    """
    watch = _Watch(model, [path for stack in stacks if stack.main for path in stack.layers], batch, keep)
    with torch.no_grad(), watch.hooked():
        whole = model.states(**batch)
    if not watch.layers:
        raise NoDepths("none of the model's layers ran as a module")
    return Seen(tuple(watch.layers), (*watch.kept[:-1], keep(whole).float()))


class _Watch:
    """Keep something of the states at each depth, by hooks on the layers."""

    def __init__(self, model: nn.Module, paths: Sequence[str], batch: Batch, keep: Keep) -> None:
        self.modules = {path: model.get_submodule(path) for path in paths}
        self.rows = len(next(iter(batch.values())))
        self.keep = keep
        self.layers: list[str] = []
        self.kept: list[torch.Tensor] = []

    @contextmanager
    def hooked(self) -> Iterator[None]:
        with ExitStack() as stack:
            for path, module in self.modules.items():
                before, after = partial(self._before, path), partial(self._after, path)
                stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
                stack.callback(module.register_forward_hook(after).remove)
            yield

    def _before(self, path: str, _: nn.Module, args: Any, kwargs: Any) -> None:
        if not self.kept:
            self._take(path, partial(hidden_input, args, kwargs))

    def _after(self, path: str, _: nn.Module, args: Any, output: Any) -> None:
        self._take(path, partial(hidden_output, output))
        self.layers.append(path)

    def _take(self, path: str, states_of: Callable[[], torch.Tensor]) -> None:
        try:
            states = states_of()
        except Refused as problem:
            raise NoDepths(f"`{path}`: {problem}") from None
        if len(states) != self.rows or not states.is_floating_point():
            raise NoDepths(f"`{path}` does not run on one row of states per row of the batch")
        self.kept.append(self.keep(states).float())


def pooling(model: MultiTaskModel, batch: Batch) -> Keep:
    """Return what makes one vector per row of states, as the model does for its heads."""

    def pooled(states: torch.Tensor) -> torch.Tensor:
        if states.dim() == 4:
            # Inner layers of a pyramid are of other widths than the output: which axis counts channels is seen.
            first = _channels_first(states, model.hidden)
            states = states.flatten(2).transpose(1, 2) if first else states.flatten(1, 2)
            return states.amax(dim=1) if model.pooling == "max" else states.mean(dim=1)
        return model.pooled(states, batch)

    return pooled


def _channels_first(states: torch.Tensor, hidden: int) -> bool:
    """Whether a map's channels stand before its space; a square space, then the width of the output, tell.

    >>> _channels_first(torch.zeros(2, 8, 7, 7), 16), _channels_first(torch.zeros(2, 7, 7, 8), 16)
    (True, False)
    """
    _, first, second, last = states.shape
    if (first == second) != (second == last):
        return second == last
    return first == hidden


def first_pieces(words: torch.Tensor) -> Keep:
    """Return what takes of states ``(rows, tokens, width)`` those of the tokens that begin a word, one after another.

    ``words`` ``(rows, tokens)`` says which.
    """

    def taken(states: torch.Tensor) -> torch.Tensor:
        if states.shape[:2] != words.shape:
            raise NoDepths(
                f"its layers hold {tuple(states.shape[:2])} states for {tuple(words.shape)} tokens"
            )
        return states[words]

    return taken
