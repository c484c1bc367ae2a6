"""The model's own forward with its frozen part recorded, left out, or merely kept in eval mode.

Only instances are patched, only within a ``with`` block, and every patch is taken back whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from freezeplan.plan.records import FrozenPrefix
from freezeplan.prefix.forms import Form, hidden_output
from freezeplan.prefix.sharded import pooled, ungathered
from freezeplan.prefix.switching import EvalSwitch, replacing

Inputs = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Cut:
    """Say how a live model is cut above its frozen prefix: below it nothing depends on a tensor that trains.

    ``prefix`` is what lies below, as it was proved; ``blocks`` are the paths of its stack's blocks in order (none
    where it is the whole backbone: then the pooled vector that the heads read is stored). ``forms`` hold
    what each block below the cut returns; ``run`` the positions of those that run in a replay as well, because
    a later block reads what they work out beside their hidden states. ``shape`` and ``dtype`` are those of the
    stored tensor on the batch that was tried; ``per_token`` is the side on which that batch was padded where
    the tensor's second dimension is its tokens. ``in_parts`` tells that of a whole backbone some heads read pooled
    vectors and some the states of tokens. ``depends_on`` names the tensors below the cut; ``draws`` tells
    that a whole backbone uses up random numbers without showing it.
    """

    prefix: FrozenPrefix
    blocks: tuple[str, ...]
    forms: tuple[Form, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype
    depends_on: tuple[str, ...]
    per_token: str | None = None
    run: tuple[int, ...] = ()
    draws: bool = False
    in_parts: bool = False

    @property
    def whole(self) -> bool:
        """Whether the whole backbone lies below."""
        return self.prefix.whole_backbone

    @property
    def boundary(self) -> str:
        """The name of what is stored."""
        return self.prefix.boundary

    @property
    def last(self) -> str:
        """The path of the block whose output is stored."""
        return self.blocks[self.prefix.layers - 1]


@contextmanager
def prefix_in_eval_mode(model: nn.Module, cut: Cut) -> Iterator[None]:
    """Run forwards within the block with everything below the cut in eval mode, and the rest as it is.

    This is the run that a replay equals. Eval mode is a phase of each forward, not a property of modules: the
    containers of a stack draw dropout and skip layers by a flag that its upper layers need set.
    """
    switch = EvalSwitch(model)
    with ExitStack() as stack:
        if not cut.whole:
            block = model.get_submodule(cut.last)
            stack.enter_context(replacing("forward", {block: _then(block.forward, switch.restore)}))
        stack.enter_context(replacing("pool", {model: _phased(model.pool, switch, cut.draws)}))
        yield


@contextmanager
def replaying(model: nn.Module, cut: Cut, stored: Callable[[Inputs], torch.Tensor]) -> Iterator[None]:
    """Run forwards within the block from stored tensors: nothing below the cut is computed.

    ``stored`` takes the inputs of a forward and returns what was recorded for them. Blocks below the cut give
    back NaN, the last of them the stored tensor; whatever stands around the blocks runs for real.
    """
    if cut.whole:
        with replacing("pool", {model: lambda **inputs: stored(inputs)}):
            yield
        return
    replay = _Replay(model, cut, stored)
    idle = [block for place, block in enumerate(replay.blocks) if place not in cut.run]
    with (
        replacing("forward", replay.forwards()),
        replacing("pool", {model: replay.pool}),
        ungathered(model, idle),
    ):
        yield


class _Replay:
    """Hold what the patched methods of one replay share."""

    def __init__(self, model: nn.Module, cut: Cut, stored: Callable[[Inputs], torch.Tensor]) -> None:
        self.cut = cut
        self.stored = stored
        self.inputs: Inputs = {}
        self.switch = EvalSwitch(model)
        self.blocks = [model.get_submodule(path) for path in cut.blocks[: cut.prefix.layers]]
        self.phased = _phased(model.pool, self.switch)

    def pool(self, **inputs: Any) -> torch.Tensor:
        self.inputs = inputs
        return self.phased(**inputs)

    def forwards(self) -> dict[nn.Module, Callable[..., Any]]:
        found = {}
        for place, (block, form) in enumerate(zip(self.blocks, self.cut.forms, strict=True)):
            real = block.forward if place in self.cut.run else None
            found[block] = partial(self._forward, form, real, place == self.cut.prefix.layers - 1)
        return found

    def _forward(
        self, form: Form, real: Callable[..., Any] | None, last: bool, *args: Any, **kwargs: Any
    ) -> Any:
        with torch.no_grad():
            computed = real(*args, **kwargs) if real else None
        hidden = self.stored(self.inputs) if last else form.phantom(args, kwargs)
        if last:
            self.switch.restore()
        return form.output(hidden, args, kwargs, computed)


class _Left(BaseException):
    """Leave a forward whose rest is not needed; models may catch ``Exception``, and must not catch this."""


def record(model: nn.Module, cuts: Sequence[Cut], inputs: Inputs) -> dict[str, torch.Tensor]:
    """Run a batch up to the highest of some cuts; returns what each stores, by its boundary's name."""
    found: dict[str, torch.Tensor] = {}
    highest = max(cuts, key=lambda cut: (cut.whole, cut.prefix.layers))
    switch = EvalSwitch(model)
    blocks = {model.get_submodule(cut.last): cut for cut in cuts if not cut.whole}
    forwards = {
        block: partial(_record, found, block.forward, cut.boundary, cut == highest)
        for block, cut in blocks.items()
    }
    with torch.no_grad(), replacing("forward", forwards):
        try:
            switch.turn_off()
            output = pooled(model, dict(inputs))
            if highest.whole:
                found[highest.boundary] = output
        except _Left:
            pass
        finally:
            switch.restore()
    return found


def _record(
    found: dict[str, torch.Tensor],
    forward: Callable[..., Any],
    boundary: str,
    leave: bool,
    *args: Any,
    **kwargs: Any,
) -> Any:
    output = forward(*args, **kwargs)
    if leave:
        found[boundary] = hidden_output(output)
        raise _Left
    # What runs after this block may write into its output.
    found[boundary] = hidden_output(output).clone()
    return output


def _then(forward: Callable[..., Any], action: Callable[[], None]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        action()
        return output

    return run


def _phased(pool: Callable[..., Any], switch: EvalSwitch, isolated: bool = False) -> Callable[..., Any]:
    """Return ``pool`` in eval mode until somebody restores the switch; ``isolated`` keeps its random draws in."""

    def run(**inputs: Any) -> torch.Tensor:
        with ExitStack() as stack:
            if isolated:
                stack.enter_context(torch.random.fork_rng())
            stack.callback(switch.restore)
            switch.turn_off()
            return pool(**inputs)

    return run
