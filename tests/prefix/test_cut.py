"""The cut is where autograd and experiment agree, and whatever defies it is refused by name."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch
from torch import nn

from freezeplan.inventory.records import Stack
from freezeplan.models.multitask import MultiTaskModel
from freezeplan.prefix import Reason, Refused, find_cut
from tests.prefix.architectures import TEXT, make_batch
from tests.prefix.toys import HIDDEN, Backbone, Block, freeze_below, stack_of, toy

BATCH = make_batch(TEXT, [9, 5, 7, 4], 0)


def refusal(model: MultiTaskModel, **more: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        find_cut(model, stack_of(model), BATCH, **more)
    return caught.value


@pytest.mark.parametrize("blocks", [1, 2, 3, 4])
def test_the_cut_is_above_the_last_frozen_block(blocks: int) -> None:
    model = toy(frozen=blocks)
    cut = find_cut(model, stack_of(model), BATCH)
    assert (cut.prefix.layers, cut.whole, cut.prefix.statement) == (
        blocks,
        False,
        f"stored prefix k={blocks} of 4",
    )
    below = {name for name, tensor in model.named_parameters() if not tensor.requires_grad}
    assert set(cut.depends_on) == below


def test_a_frozen_backbone_is_cut_above_its_pooled_vectors() -> None:
    model = toy()
    model.backbone.requires_grad_(False)
    cut = find_cut(model, stack_of(model), BATCH)
    assert (cut.whole, cut.shape, cut.boundary) == (True, (4, HIDDEN), "pooled")
    assert cut.prefix.statement == "stored features of the whole backbone"


def test_the_tensors_of_another_phase_decide_when_they_are_named() -> None:
    model = toy(frozen=1)
    flags = [tensor.requires_grad for tensor in model.parameters()]
    later = {name for name, _ in model.named_parameters() if name.startswith(("backbone.layers.3", "heads"))}
    assert find_cut(model, stack_of(model), BATCH, trainable=later).prefix.layers == 3
    assert [tensor.requires_grad for tensor in model.parameters()] == flags


def test_an_adapter_in_a_lower_block_lowers_the_cut() -> None:
    model = toy(frozen=4)
    model.backbone.layers[1].register_parameter("adapter", nn.Parameter(torch.zeros(HIDDEN)))
    plain = Block.forward.__get__(model.backbone.layers[1])

    class Adapted(Block):
        def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return plain(hidden, mask) + self.adapter * hidden

    model.backbone.layers[1].__class__ = Adapted
    assert find_cut(model, stack_of(model), BATCH).prefix.layers == 1


def test_a_tensor_that_trains_is_seen_past_a_detach() -> None:
    class Detached(Backbone):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(HIDDEN))

        def through(self, hidden: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
            for place, layer in enumerate(self.layers):
                hidden = layer(hidden * self.scale.detach() if place == 2 else hidden, mask)
            return hidden

    model = toy(Detached(), frozen=4)
    assert model.backbone.scale.requires_grad
    assert find_cut(model, stack_of(model), BATCH).prefix.layers == 2


def test_a_tensor_of_two_modules_is_seen_past_a_detach_in_the_other() -> None:
    class Detached(Backbone):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(HIDDEN))
            self.twin = nn.LayerNorm(HIDDEN)

        def through(self, hidden: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
            for place, layer in enumerate(self.layers):
                hidden = layer(hidden * self.twin.weight.detach() if place == 2 else hidden, mask)
            return hidden

    model = toy(Detached(), frozen=4)
    model.backbone.twin.weight = model.backbone.scale
    assert find_cut(model, stack_of(model), BATCH).prefix.layers == 2


def test_with_a_trainable_embedding_nothing_is_frozen_below() -> None:
    model = toy(frozen=2)
    model.backbone.embedding.requires_grad_(True)
    found = refusal(model)
    assert found.reason is Reason.NOTHING_FROZEN
    assert found.statement == "no store: nothing is frozen below the first trainable tensor"


def test_inputs_that_are_made_to_require_gradients_are_named() -> None:
    model = toy(frozen=2)
    model.backbone.embedding.register_forward_hook(lambda _, __, output: output.requires_grad_(True))
    found = refusal(model)
    assert found.reason is Reason.NOTHING_FROZEN and "enable_input_require_grads" in found.detail


def test_modules_kept_in_training_mode_bound_the_cut() -> None:
    model = toy(frozen=3)
    assert find_cut(model, stack_of(model), BATCH, kept=["backbone.layers.1.linear"]).prefix.layers == 1
    assert refusal(model, kept=["backbone.embedding"]).reason is Reason.KEPT_IN_TRAINING
    model.backbone.requires_grad_(False)
    assert not find_cut(model, stack_of(model), BATCH, kept=["backbone.norm"]).whole


class Bent(Backbone):
    """Run the blocks as ``way`` says."""

    def __init__(self, way: Callable[..., torch.Tensor], block: type[nn.Module] = Block) -> None:
        super().__init__(block)
        self.way = way

    def through(self, hidden: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return self.way(self, hidden, mask, ids)


def shared(self: Backbone, hidden: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    for _ in range(4):
        hidden = self.layers[0](hidden, mask)
    return hidden


def bypassing(self: Backbone, hidden: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    for layer in self.layers:
        hidden = layer.forward(hidden, mask)
    return hidden


def backwards(self: Backbone, hidden: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    for layer in reversed(self.layers):
        hidden = layer(hidden, mask)
    return hidden


def skipping(self: Backbone, hidden: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    for layer in self.layers[:3]:
        hidden = layer(hidden, mask)
    return hidden


def bridged(self: Backbone, hidden: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    first = self.layers[0](hidden, mask)
    hidden = self.layers[2](self.layers[1](first, mask), mask)
    return self.layers[3](hidden, mask) + first


def overwriting(self: Backbone, hidden: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    ids.fill_(0)
    return Backbone.through(self, hidden, mask, ids)


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        (shared, Reason.SHARED),
        (bypassing, Reason.BYPASSED),
        (backwards, Reason.OUT_OF_ORDER),
        (skipping, Reason.OUT_OF_ORDER),
        (bridged, Reason.HIDDEN_PATH),
        (overwriting, Reason.MUTATES_INPUTS),
    ],
)
def test_a_stack_that_runs_in_another_way_is_refused(way: Callable[..., Any], reason: Reason) -> None:
    assert refusal(toy(Bent(way))).reason is reason


class InPlace(Block):
    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return hidden.add_(1.0) if not hidden.requires_grad else hidden + 1.0


class Counting(Block):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return super().forward(hidden, mask)


class Noisy(Block):
    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return super().forward(hidden, mask) + torch.randn(())


class NoisyByNumpy(Block):
    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return super().forward(hidden, mask) + numpy.random.rand()


class AsDict(Block):
    def forward(self, hidden: Any, mask: torch.Tensor) -> Any:
        states = hidden["states"] if isinstance(hidden, dict) else hidden
        return {"states": super().forward(states, mask)}


class Flattening(Block):
    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        wide = hidden if hidden.dim() == 3 else hidden.view(*mask.shape, HIDDEN)
        return super().forward(wide, mask).flatten(0, 1)


def unpacking(self: Backbone, hidden: Any, mask: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    for layer in self.layers:
        hidden = layer(hidden, mask)
    states = hidden["states"] if isinstance(hidden, dict) else hidden
    return states.view(*mask.shape, HIDDEN)


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (InPlace, Reason.MUTATES_INPUTS),
        (Counting, Reason.MUTATES_STATE),
        (Noisy, Reason.RANDOM),
        (NoisyByNumpy, Reason.RANDOM),
        (AsDict, Reason.NO_HIDDEN_STATES),
        (Flattening, Reason.NOT_PER_EXAMPLE),
    ],
)
def test_blocks_that_do_more_than_pass_on_hidden_states_are_refused(block: Any, reason: Reason) -> None:
    assert refusal(toy(Bent(unpacking, block))).reason is reason


def test_a_whole_backbone_must_repeat_itself_too() -> None:
    for block, reason in ((Noisy, Reason.RANDOM), (Counting, Reason.MUTATES_STATE)):
        model = toy(Backbone(block))
        model.backbone.requires_grad_(False)
        assert refusal(model).reason is reason


def test_hooks_on_what_is_left_out_are_refused_and_others_are_not() -> None:
    model = toy(frozen=2)
    handle = model.backbone.layers[1].linear.register_forward_hook(lambda *_: None)
    found = refusal(model)
    assert (found.reason, found.detail) == (Reason.OWN_HOOKS, "on `backbone.layers.1.linear`")
    handle.remove()
    model.backbone.layers[2].register_forward_hook(lambda *_: None)
    assert find_cut(model, stack_of(model), BATCH).prefix.layers == 2


def test_blocks_with_a_forward_of_their_own_are_refused() -> None:
    model = toy(frozen=2)
    block = model.backbone.layers[0]
    block.forward = block.forward
    assert refusal(model).reason is Reason.PATCHED


def test_stacks_are_refused_by_what_the_inventory_knows_of_them() -> None:
    model = toy()
    (stack,) = stack_of(model)
    with pytest.raises(Refused) as caught:
        find_cut(model, [], BATCH)
    assert caught.value.reason is Reason.NO_STACK
    halves = [Stack("low", stack.layers[:2]), Stack("high", stack.layers[2:])]
    with pytest.raises(Refused) as caught:
        find_cut(model, halves, BATCH)
    assert caught.value.reason is Reason.SEVERAL_STACKS
    with pytest.raises(Refused) as caught:
        find_cut(model, stack_of(model, companions=(("backbone.norm",),) * 4), BATCH)
    assert caught.value.reason is Reason.PARALLEL


class Beside(Block):
    """Work out a bias in the first block that all later ones need, as T5 does."""

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor, bias: torch.Tensor | None = None) -> Any:
        bias = mask.sum(1).float().log().view(-1, 1, 1) if bias is None else bias
        return super().forward(hidden, mask) + bias, bias


class BesideFromHidden(Beside):
    """Work the bias out of the hidden states that the block is given."""

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor, bias: torch.Tensor | None = None) -> Any:
        found, _ = super().forward(hidden, mask, bias)
        return found, found.mean((1, 2), keepdim=True)


def handing_on(self: Backbone, hidden: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    bias = None
    for layer in self.layers:
        hidden, bias = layer(hidden, mask, bias)
    return hidden


def test_a_block_that_later_ones_need_for_more_than_its_hidden_states_runs_in_the_replay() -> None:
    model = toy(Bent(handing_on, Beside), frozen=3)
    cut = find_cut(model, stack_of(model), BATCH)
    assert (cut.prefix.layers, cut.run) == (3, (0,))


def test_what_cannot_be_had_without_the_hidden_states_is_refused() -> None:
    assert refusal(toy(Bent(handing_on, BesideFromHidden), frozen=3)).reason is Reason.HIDDEN_PATH


def test_the_search_leaves_no_trace() -> None:
    model = toy(frozen=2)
    model.backbone.norm = nn.Sequential(nn.Flatten(0, 1), nn.BatchNorm1d(HIDDEN), nn.Unflatten(0, (4, 12)))
    model.backbone.layers[3].eval()

    def state() -> list[Any]:
        return [
            {name: value.clone() for name, value in model.state_dict().items()},
            [module.training for module in model.modules()],
            [(tensor.requires_grad, tensor.grad) for tensor in model.parameters()],
            [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
            [sorted(module.__dict__) for module in model.modules()],
            (torch.get_rng_state().tolist(), random.getstate(), numpy.random.get_state()[1].tolist()),
            {name: value.tolist() for name, value in BATCH.items()},
        ]

    before = state()
    find_cut(model, stack_of(model), BATCH)
    after = state()
    assert after[0].keys() == before[0].keys()
    assert all(torch.equal(after[0][name], before[0][name]) for name in before[0])
    assert after[1:] == before[1:]


def test_flags_are_put_back_when_the_model_fails() -> None:
    def failing(*_: Any) -> torch.Tensor:
        raise KeyboardInterrupt

    model = freeze_below(toy(Bent(failing)), 2)
    flags = [tensor.requires_grad for tensor in model.parameters()]
    with pytest.raises(KeyboardInterrupt):
        find_cut(model, stack_of(model), BATCH, trainable=["heads.mood.linear.weight"])
    assert [tensor.requires_grad for tensor in model.parameters()] == flags
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_module_with_two_names_keeps_its_tensors() -> None:
    model = toy(frozen=2)
    model.heads["mood"] = model.heads["topic"]
    before = [(name, id(tensor)) for name, tensor in model.named_parameters(remove_duplicate=False)]
    find_cut(model, stack_of(model), BATCH)
    after = [(name, id(tensor)) for name, tensor in model.named_parameters(remove_duplicate=False)]
    assert after == before
