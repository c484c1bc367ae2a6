"""Bytes that can be worked out by hand, and those of real tensors beside those of fake ones."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import nn

from freezeplan.api import compile_plan
from freezeplan.apply import apply_freeze
from freezeplan.cost.inputs import Inputs
from freezeplan.cost.memory import measure_memory
from freezeplan.cost.records import Memory
from freezeplan.cost.tracking import LiveBytes
from freezeplan.models.multitask import MultiTaskModel
from tests.cost.trials import ROWS, memory_of, rules, trial_of, vectors

FLOAT = 4
LOSS = FLOAT
# Of a Linear(4, 3) and a batch of 2.
WEIGHTS = (4 * 3 + 3) * FLOAT
INPUT = ROWS * 4 * FLOAT
OUTPUT = ROWS * 3 * FLOAT
ADAM = 2 * WEIGHTS + 2 * FLOAT


def line() -> nn.Module:
    return nn.Linear(4, 3)


def wide() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 1000), nn.Linear(1000, 2), nn.Linear(2, 1))


WIDE = (4 * 1000 + 1000 + 1000 * 2 + 2 + 2 + 1) * FLOAT
HIDDEN = ROWS * 1000 * FLOAT
LATE = ROWS * 2 * FLOAT


def test_a_linear_layer_needs_what_is_worked_out_by_hand() -> None:
    found = memory_of(trial_of(line(), vectors(4)))
    assert (found.weights, found.gradients, found.optimizer_state) == (WEIGHTS, WEIGHTS, ADAM)
    assert found.activations == INPUT + OUTPUT + LOSS
    assert found.saved == INPUT + LOSS
    assert found.evaluation is None


@pytest.mark.parametrize(
    ("optimizer", "state"),
    [
        ({"name": "sgd"}, 0),
        ({"name": "sgd", "momentum": 0.9}, WEIGHTS),
        ({"name": "adamw"}, ADAM),
        ({"name": "adamw", "amsgrad": True}, ADAM + WEIGHTS),
        ({"name": "adafactor"}, (4 + 3 + 3) * FLOAT + 2 * FLOAT),
    ],
)
def test_each_optimizer_keeps_its_own_state(optimizer: dict[str, object], state: int) -> None:
    assert memory_of(trial_of(line(), vectors(4)), **optimizer).optimizer_state == state


def test_what_is_frozen_below_saves_nothing_for_a_backward_pass() -> None:
    whole, part = memory_of(trial_of(wide(), vectors(4))), memory_of(trial_of(wide(), vectors(4)), ("0", "1"))
    assert whole.saved == INPUT + HIDDEN + LATE + LOSS
    assert part.saved == LATE + LOSS
    assert (part.gradients, part.optimizer_state) == (3 * FLOAT, 2 * 3 * FLOAT + 2 * FLOAT)
    assert part.activations < whole.activations and part.peak < whole.peak


def test_the_peak_of_a_frozen_wide_layer_is_where_its_output_meets_the_next() -> None:
    found = memory_of(trial_of(wide(), vectors(4)), ("0", "1"))
    assert found.peak == WIDE + found.optimizer_state + INPUT + HIDDEN + LATE


def test_a_wide_layer_frozen_above_a_trainable_one_is_still_passed_through() -> None:
    found = memory_of(trial_of(wide(), vectors(4)), ("1", "2"))
    assert found.gradients == 5000 * FLOAT and found.saved == INPUT + LOSS


def test_with_everything_frozen_there_is_no_gradient_and_no_state() -> None:
    trial = trial_of(wide(), vectors(4), evaluates=True, eval_batch_size=ROWS)
    apply_freeze(trial.model, compile_plan(trial.model, {"rule": rules("**")}))
    assert trial.learning() == ()
    found = measure_memory(trial, None, ())
    assert (found.gradients, found.optimizer_state, found.saved) == (0, 0, 0)
    assert found.peak == found.evaluation == WIDE + INPUT + HIDDEN + LATE


def two_heads(*frozen: str, **train: object) -> Memory:
    model = MultiTaskModel(nn.Embedding(10, 4), 4, {"topic": (3, 0.0), "mood": (2, 0.0)})
    inputs = Inputs(("input",), 5, None, "texts")
    return memory_of(trial_of(model, inputs, ("topic", "mood"), **train), frozen)


TOPIC, MOOD = (4 * 3 + 3) * FLOAT, (4 * 2 + 2) * FLOAT


def test_tasks_that_alternate_have_one_gradient_at_a_time_and_both_states() -> None:
    apart, together = two_heads("backbone", mixing="alternate"), two_heads("backbone", mixing="joint")
    assert (apart.gradients, together.gradients) == (TOPIC, TOPIC + MOOD)
    assert apart.optimizer_state == together.optimizer_state == 2 * (TOPIC + MOOD) + 4 * FLOAT


def test_balanced_gradients_of_the_backbone_are_held_once_per_task() -> None:
    shared = 10 * 4 * FLOAT
    plain, balanced = two_heads(mixing="joint"), two_heads(mixing="joint", balancing="upgrad")
    assert (plain.gradients, balanced.gradients) == (shared + TOPIC + MOOD, 2 * shared)
    assert balanced.peak >= plain.peak


def test_accumulated_batches_find_the_gradients_of_the_first_still_there() -> None:
    once = memory_of(trial_of(wide(), vectors(4), accumulation=1), name="sgd")
    twice, many = (memory_of(trial_of(wide(), vectors(4), accumulation=n), name="sgd") for n in (2, 8))
    # Beside them stand new ones of the first layer, what it saved, and the gradient of its output.
    assert twice.peak == WIDE + once.gradients + 5000 * FLOAT + INPUT + HIDDEN + 2 * LOSS
    assert once.peak < twice.peak
    assert many == twice and twice.gradients == once.gradients


def test_an_evaluation_finds_state_and_gradients_and_takes_batches_of_its_own() -> None:
    trial = trial_of(wide(), vectors(4), evaluates=True, eval_batch_size=16 * ROWS)
    found = memory_of(trial, ("0", "1"))
    forward = 16 * (INPUT + HIDDEN + LATE)
    assert found.evaluation == WIDE + found.gradients + found.optimizer_state + forward


def test_a_tied_tensor_is_counted_once() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    found = memory_of(trial_of(model, vectors(4)))
    assert found.weights == found.gradients == 16 * FLOAT


def test_buffers_count_as_weights_and_train_not() -> None:
    found = memory_of(trial_of(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), vectors(4)), name="sgd")
    assert found.weights - found.gradients == (3 + 3) * FLOAT + 8


class Mixed(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 64), nn.GELU(), nn.Linear(64, 64), nn.Dropout(0.5), nn.Linear(64, 3))


@pytest.mark.parametrize("frozen", [(), ("0",), ("0", "2")])
def test_fake_tensors_need_the_bytes_of_real_ones(frozen: tuple[str, ...]) -> None:
    fake = trial_of(Mixed(), vectors(4), evaluates=True, clip_norm=1.0)
    real = replace(fake, model=Mixed(), mode=nullcontext())
    assert memory_of(real, frozen) == memory_of(fake, frozen)


def test_what_a_plan_says_about_the_state_is_what_the_steps_find() -> None:
    trial = trial_of(wide(), vectors(4))
    plan = compile_plan(wide(), {"rule": rules("1"), "optimizer": {"no_decay": []}})
    assert memory_of(trial, ("1",)).optimizer_state == plan.phases[0].optimizer_state_bytes


def test_the_model_is_left_on_fake_tensors_only() -> None:
    model = wide()
    trial_of(model, vectors(4))
    assert all(
        type(tensor).__name__ == "FakeTensor" or hasattr(tensor, "fake_mode") for tensor in model.parameters()
    )
    assert isinstance(model[0].weight, nn.Parameter) and model[0].weight.device == torch.device("cpu")


def test_windows_that_saw_the_same_bytes_are_watched_apart() -> None:
    with LiveBytes() as bytes_alive, bytes_alive.window() as outer:
        with bytes_alive.window() as inner:
            pass
        kept = torch.zeros(8)
    assert (inner.end, outer.end) == (0, kept.nbytes)
