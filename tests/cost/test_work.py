"""FLOPs that can be worked out by hand: what trains, what only passes through, what is not reached."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from freezeplan.api import compile_plan
from freezeplan.apply import apply_freeze
from freezeplan.cost.frozen_prefix import PrefixWork, frozen_prefix_work
from freezeplan.cost.records import Work
from freezeplan.cost.trial import Trial
from freezeplan.cost.work import flop_counter, measure_work, step_work
from freezeplan.inventory.records import Stack
from freezeplan.models.multitask import MultiTaskModel
from freezeplan.plan.records import FrozenPrefix
from freezeplan.plan.stepping import StepCount
from tests.cost.trials import ROWS, rules, trial_of, vectors

# A multiply-add is two.
LAYER = 2 * ROWS * 4 * 4
LAYERS = Stack("0", ("0.0", "0.1", "0.2"))


class Layers(nn.Sequential):
    """Three square layers below one that maps to two numbers."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(*(nn.Linear(4, 4) for _ in range(3))), nn.Linear(4, 2))


HEAD = 2 * ROWS * 4 * 2
NAME = "Layers"


def frozen_trial(*frozen: str) -> Trial:
    trial = trial_of(Layers(), vectors(4))
    apply_freeze(trial.model, compile_plan(trial.model, {"rule": rules(*frozen)}))
    return trial


@pytest.mark.parametrize(
    ("frozen", "backward"),
    [
        # Each layer: its weight's gradient and its input's; the first has no input that trains.
        ((), (1 + 2 + 2) * LAYER + 2 * HEAD),
        (("0.0",), (1 + 2) * LAYER + 2 * HEAD),
        (("0.0", "0.1"), 1 * LAYER + 2 * HEAD),
        (("0",), HEAD),
        # Frozen above what trains: passed through, but no gradient of its own.
        (("0.1",), (1 + 1 + 2) * LAYER + 2 * HEAD),
    ],
)
def test_a_backward_pass_costs_what_the_frozen_parts_leave(frozen: tuple[str, ...], backward: int) -> None:
    assert measure_work(frozen_trial(*frozen), NAME) == Work(3 * LAYER + HEAD, backward)


def test_with_everything_frozen_there_is_no_backward_pass() -> None:
    assert measure_work(frozen_trial("**"), NAME) == Work(3 * LAYER + HEAD, 0)


def test_a_step_is_every_task_where_they_are_joint_and_one_where_they_alternate() -> None:
    works, sizes = {"a": Work(10, 20), "b": Work(30, 40)}, {"a": 90, "b": 30}
    expected = {"joint": Work(120, 180), "alternate": Work(60, 90), "proportional": Work(45, 75)}
    for mixing, work in expected.items():
        trial = trial_of(Layers(), vectors(4), mixing=mixing, accumulation=3, batch_size=10)
        assert step_work(trial, works, StepCount(sizes, trial.train)) == work


def test_the_attention_kernel_of_the_cpu_counts_as_the_plain_products_do() -> None:
    query, key = torch.randn(2, 3, 5, 8, requires_grad=True), torch.randn(2, 3, 7, 8, requires_grad=True)
    counts = {}
    for backend in (SDPBackend.MATH, SDPBackend.FLASH_ATTENTION):
        with sdpa_kernel(backend), flop_counter() as counter:
            attended = scaled_dot_product_attention(query, key, key)
            forward = counter.get_total_flops()
            attended.sum().backward()
        counts[backend] = (forward, counter.get_total_flops() - forward)
    product = 2 * 2 * 3 * 5 * 7 * 8
    assert counts[SDPBackend.MATH] == (2 * product, 4 * product)
    assert counts[SDPBackend.FLASH_ATTENTION] == (2 * product, 5 * product)


@pytest.mark.parametrize(
    ("frozen", "layers"), [(("0.0",), 1), (("0.0", "0.1"), 2), (("0",), 3), (("0.0", "0.2"), 1)]
)
def test_the_cut_is_after_the_last_layer_that_depends_on_nothing_trainable(
    frozen: tuple[str, ...], layers: int
) -> None:
    trial = frozen_trial(*frozen)
    assert frozen_prefix_work(trial, NAME, LAYERS) == PrefixWork(
        FrozenPrefix("0", layers, 3), ROWS, layers * LAYER, nbytes=ROWS * 4 * 4, states=ROWS * 4 * 4
    )
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in trial.model.modules())


def test_a_frozen_backbone_is_stored_as_one_vector_per_row() -> None:
    model = MultiTaskModel(nn.Linear(4, 6), 6, {"topic": (3, 0.0)})
    trial = trial_of(model, vectors(4), ("topic",))
    apply_freeze(model, compile_plan(model, {"rule": rules("backbone")}))
    assert frozen_prefix_work(trial, "topic", None) == PrefixWork(
        FrozenPrefix(None, 0, 0, whole_backbone=True), ROWS, 2 * ROWS * 4 * 6, nbytes=ROWS * 6 * 4, states=0
    )


def why_not(trial: Trial, stack: Stack | None) -> str:
    found = frozen_prefix_work(trial, NAME, stack)
    assert isinstance(found, str)
    return found


def test_it_says_why_there_is_nothing_to_store() -> None:
    assert why_not(frozen_trial("0.1"), LAYERS) == "the first layer trains, or something before it does"
    trial = frozen_trial("0.0")
    assert why_not(trial, None) == "no stack of layers was found"
    assert why_not(trial, Stack("0", LAYERS.layers, shared="one block")).endswith(
        "share their tensors: one block"
    )
    assert why_not(trial, Stack("0", ("0.1", "0.0"))).endswith("do not run once each, in their order")
    assert why_not(trial, Stack("0", ("0.0", "1"), companions=(("0.1",), ("0.2",)))).startswith(
        "each layer is"
    )
