"""Finds the highest cut below which nothing depends on what trains, and proves it on a real batch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from freezeplan.diagnostics.wording import quoted
from freezeplan.inventory.records import Stack
from freezeplan.plan.records import FrozenPrefix
from freezeplan.prefix.dependence import observe_disturbed, tensors_below
from freezeplan.prefix.observation import Call, Observation, observe
from freezeplan.prefix.proof import check_same_batch
from freezeplan.prefix.refusal import Reason, Refused
from freezeplan.prefix.replay import Cut
from freezeplan.prefix.switching import in_eval_mode, preserving_state, with_trainable

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)
# transformers puts these on layers to collect hidden states when asked to; nobody asks here. fully_shard gathers.
LIBRARY_HOOKS = ("transformers.utils.output_capturing", "torch.distributed.fsdp")


def find_cut(
    model: nn.Module,
    stacks: Sequence[Stack],
    batch: Mapping[str, torch.Tensor],
    *,
    trainable: Collection[str] | None = None,
    kept: Collection[str] = (),
) -> Cut:
    """Return the highest cut of a model below which everything is frozen, proved on one real batch.

    ``model`` reads a batch through ``pool(**batch)``, as :class:`MultiTaskModel` does; ``stacks`` are those
    of its inventory; a few rows of different lengths make a good ``batch``. ``trainable`` names the parameters
    that train, for a phase other than the current one (default: those that require gradients). ``kept`` are
    the paths of frozen modules that stay in training mode. Four forwards in eval mode find ``k``: the leading
    blocks whose output neither requires a gradient nor changes when all that trains is changed; then a replay
    must equal the uncached run bit for bit, in the model's present mode. Leaves no trace in the model.

    Raises :class:`Refused`, which names the reason, when there is no such cut.
    """
    with with_trainable(model, trainable), preserving_state(model):
        search = _Search(model, stacks, batch, kept)
        cut = search.whole() or search.partial()
        return _proved(model, cut, batch)


class _Search:
    """Hold three watched forwards of one batch: two alike, and one with all that trains changed."""

    def __init__(
        self,
        model: nn.Module,
        stacks: Sequence[Stack],
        batch: Mapping[str, torch.Tensor],
        kept: Collection[str],
    ) -> None:
        self.model, self.batch = model, batch
        self.stacks = [stack for stack in stacks if stack.main]
        self.kept = frozenset(kept)
        self.trained = {name for name, tensor in model.named_parameters() if tensor.requires_grad}
        paths = [path for stack in self.stacks for path in stack.layers]
        with in_eval_mode(model), torch.enable_grad():
            self.seen = observe(model, paths, batch)
            self.again = observe(model, paths, batch)
            self.disturbed = observe_disturbed(model, paths, batch)
            self.below = tensors_below(model, paths, batch)
        if self.seen.mutates:
            raise Refused(Reason.MUTATES_INPUTS, "a forward writes to the batch")

    def whole(self) -> Cut | None:
        """Return the cut above the whole backbone, None where something in it trains or a native head reads it."""
        in_parts = not getattr(self.model, "pools", True)
        if in_parts and not self.model.splits:
            return None
        pooled = self.seen.pooled
        untouched = torch.equal(pooled, self.disturbed.pooled) or not torch.equal(pooled, self.again.pooled)
        if pooled.requires_grad or not untouched or self.kept & self.seen.entered:
            return None
        _check_still(self.seen.changed, self.below[""], pooled, self.again.pooled, "the backbone")
        if len(pooled) != _batch_size(self.batch):
            raise Refused(Reason.NOT_PER_EXAMPLE, f"{len(pooled)} vectors for {_batch_size(self.batch)} rows")
        return Cut(
            prefix=self._whole_prefix,
            blocks=(),
            forms=(),
            shape=(len(pooled), self.model.hidden) if in_parts else tuple(pooled.shape),
            dtype=pooled.dtype,
            depends_on=self.below[""],
            draws=self.seen.draws,
            in_parts=in_parts,
        )

    @property
    def _whole_prefix(self) -> FrozenPrefix:
        """The whole backbone, described as the compiler does."""
        alone = self.stacks[0] if len(self.stacks) == 1 else None
        if alone is None or alone.shared or alone.companions:
            return FrozenPrefix(None, 0, 0, whole_backbone=True)
        return FrozenPrefix(alone.path, alone.length, alone.length, whole_backbone=True)

    def partial(self) -> Cut:
        """Return the highest cut between two blocks."""
        stack = _running_stack(self.stacks, self.seen)
        calls = [self.seen.call_of(path) for path in stack.layers]
        k = self._frozen_blocks(calls)
        forms = tuple(_checked_form(self.model, call) for call in calls[:k])
        last = calls[k - 1]
        _check_still(
            last.changed,
            self.below[last.block],
            last.hidden,
            self.again.call_of(last.block).hidden,
            last.block,
        )
        if len(last.hidden) != _batch_size(self.batch):
            what = f"`{last.block}` returns {len(last.hidden)} rows for {_batch_size(self.batch)}"
            raise Refused(Reason.NOT_PER_EXAMPLE, what)
        return Cut(
            prefix=FrozenPrefix(stack.path, k, stack.length),
            blocks=stack.layers,
            forms=forms,
            shape=tuple(last.hidden.shape),
            dtype=last.hidden.dtype,
            depends_on=self.below[last.block],
            per_token=_padded_side(last.hidden, self.batch.get("attention_mask")),
        )

    def _frozen_blocks(self, calls: Sequence[Call]) -> int:
        """Count the leading blocks that depend on nothing that trains; raises :class:`Refused` at none."""
        for k, call in enumerate(calls):
            end = self._end(call)
            if end is not None and k == 0:
                raise end
            if end is not None:
                return k
        return len(calls)

    def _end(self, call: Call) -> Refused | None:
        """Say why the frozen blocks end before this one, None where they do not."""
        if call.hidden is None:
            return call.problem
        if self.kept & call.entered:
            return Refused(Reason.KEPT_IN_TRAINING, "`eval_mode = false`")
        if call.hidden.requires_grad and not self.trained & set(self.below[call.block]):
            return Refused(
                Reason.NOTHING_FROZEN, "`enable_input_require_grads` makes all depend on the input"
            )
        if call.hidden.requires_grad or not self._undisturbed(call):
            return Refused(Reason.NOTHING_FROZEN)
        return None

    def _undisturbed(self, call: Call) -> bool:
        """Whether changing what trains changed nothing here; what never repeats is judged elsewhere."""
        again, disturbed = self.again.call_of(call.block), self.disturbed.call_of(call.block)
        return torch.equal(call.hidden, disturbed.hidden) or not torch.equal(call.hidden, again.hidden)


def _running_stack(stacks: Sequence[Stack], seen: Observation) -> Stack:
    """Return the one stack whose blocks ran, each once and in order; raises :class:`Refused` otherwise."""
    if not stacks:
        raise Refused(Reason.NO_STACK)
    order = [call.block for call in seen.calls]
    ran = [stack for stack in stacks if set(stack.layers) & set(order)]
    if not ran:
        reason = stacks[0].shared
        raise Refused(Reason.SHARED, reason) if reason else Refused(Reason.BYPASSED, f"`{stacks[0].path}`")
    if len(ran) > 1:
        raise Refused(Reason.SEVERAL_STACKS, quoted(stack.path for stack in ran))
    (stack,) = ran
    times = max(order.count(path) for path in stack.layers)
    if times > 1:
        raise Refused(Reason.SHARED, f"one runs {times} times")
    if stack.shared:
        raise Refused(Reason.SHARED, stack.shared)
    if stack.companions:
        raise Refused(Reason.PARALLEL, f"`{stack.label}`")
    if order != list(stack.layers):
        raise Refused(Reason.OUT_OF_ORDER, f"{len(order)} of {stack.length} ran")
    return stack


def _checked_form(model: nn.Module, call: Call) -> Any:
    """Return what a block below the cut gives back; raises :class:`Refused` when it cannot be left out."""
    if call.problem is not None:
        raise call.problem
    if call.mutates:
        raise Refused(Reason.MUTATES_INPUTS, f"`{call.block}` writes to its arguments")
    if call.draws:
        raise Refused(Reason.RANDOM, f"`{call.block}` draws random numbers")
    for name, module in model.get_submodule(call.block).named_modules(prefix=call.block):
        if _own_hooks(module):
            raise Refused(Reason.OWN_HOOKS, f"on `{name}`")
        # Its children keep their patches: they run no less patched when the store is built.
        if name == call.block and ("forward" in module.__dict__ or module._compiled_call_impl is not None):
            raise Refused(Reason.PATCHED, f"`{name}`")
    return call.form


def _own_hooks(module: nn.Module) -> bool:
    hooks = [hook for kind in HOOKS for hook in getattr(module, kind).values()]
    return not all(str(getattr(hook, "__module__", None)).startswith(LIBRARY_HOOKS) for hook in hooks)


def _check_still(
    changed: Collection[str], below: Collection[str], first: torch.Tensor, second: torch.Tensor, where: str
) -> None:
    written = [name for name in below if name in changed]
    if written:
        raise Refused(Reason.MUTATES_STATE, f"`{written[0]}`")
    if not torch.equal(first, second):
        raise Refused(Reason.RANDOM, f"`{where}` gives other numbers each time")


def _batch_size(batch: Mapping[str, torch.Tensor]) -> int:
    return len(next(iter(batch.values())))


def _padded_side(hidden: torch.Tensor, mask: torch.Tensor | None) -> str | None:
    """Return on which side of its real tokens a batch is padded, None where there are no tokens to tell apart."""
    if mask is None or hidden.dim() < 3 or hidden.shape[:2] != mask.shape:
        return None
    return "left" if bool((mask[:, 0] == 0).any()) else "right"


def _proved(model: nn.Module, cut: Cut, batch: Mapping[str, torch.Tensor]) -> Cut:
    """Check a cut; where it fails, once more with the blocks running that work out something beside."""
    try:
        check_same_batch(model, cut, batch)
    except Refused:
        computing = tuple(place for place, form in enumerate(cut.forms) if form.computes)
        if not computing:
            raise
        cut = replace(cut, run=computing)
        check_same_batch(model, cut, batch)
    return cut
