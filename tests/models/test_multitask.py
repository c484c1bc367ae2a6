"""Pooling and routing of the model of a spec with tasks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from freezeplan.models.multitask import MultiTaskModel
from tests.models.sources import tiny


class Fixed(nn.Module):
    """A backbone that puts out the states it was made with."""

    def __init__(self, states: torch.Tensor) -> None:
        super().__init__()
        self.states = states

    def forward(self, **inputs: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self.states)


def model_over(states: torch.Tensor, pooling: str = "mean") -> MultiTaskModel:
    return MultiTaskModel(Fixed(states), 2, {"a": (3, 0.0)}, pooling)


STATES = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [100.0, 100.0]]])


def test_the_mean_leaves_padding_out() -> None:
    pooled = model_over(STATES).pool(attention_mask=torch.tensor([[1, 1, 0]]))
    assert torch.equal(pooled, torch.tensor([[2.0, 3.0]]))


def test_cls_takes_the_first_token() -> None:
    pooled = model_over(STATES, "cls").pool(attention_mask=torch.tensor([[1, 1, 0]]))
    assert torch.equal(pooled, torch.tensor([[1.0, 2.0]]))


LEFT = torch.tensor([[0, 1, 1]])


@pytest.mark.parametrize(
    ("pooling", "right", "left"),
    [
        ("mean", [2.0, 3.0], [51.5, 52.0]),
        ("cls", [1.0, 2.0], [3.0, 4.0]),
        ("last", [3.0, 4.0], [100.0, 100.0]),
        ("max", [3.0, 4.0], [100.0, 100.0]),
    ],
)
def test_padding_on_either_side_is_left_out(pooling: str, right: list[float], left: list[float]) -> None:
    model = model_over(STATES, pooling)
    assert model.pool(attention_mask=torch.tensor([[1, 1, 0]])).tolist() == [right]
    assert model.pool(attention_mask=LEFT).tolist() == [left]


def test_the_largest_value_is_never_one_of_padding() -> None:
    pooled = model_over(-STATES, "max").pool(attention_mask=torch.tensor([[1, 0, 0]]))
    assert pooled.tolist() == [[-1.0, -2.0]]
    assert model_over(STATES, "max").pool(attention_mask=torch.zeros(1, 3)).tolist() == [[0.0, 0.0]]


def test_without_a_mask_the_mean_is_over_all() -> None:
    assert torch.equal(model_over(STATES).pool(), STATES.mean(dim=1))


def test_a_text_of_padding_alone_gives_zeros_and_no_nan() -> None:
    pooled = model_over(STATES).pool(attention_mask=torch.zeros(1, 3, dtype=torch.long))
    assert torch.equal(pooled, torch.zeros(1, 2))


@pytest.mark.parametrize("shape", [(1, 2, 3, 4), (1, 3, 4, 2)], ids=["channels first", "channels last"])
def test_feature_maps_are_averaged_over_space(shape: tuple[int, ...]) -> None:
    states = torch.arange(24.0).reshape(shape)
    expected = states.flatten(2).mean(2) if shape[1] == 2 else states.flatten(1, 2).mean(1)
    assert torch.equal(model_over(states).pool(), expected)


def test_a_task_gets_its_own_logits_and_no_task_gets_all() -> None:
    model = MultiTaskModel(tiny(), 8, {"mood": (2, 0.0), "topic": (5, 0.0)}).eval()
    ids = torch.tensor([[2, 5, 3], [2, 6, 3]])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    every = model(**batch)
    assert {name: tuple(logits.shape) for name, logits in every.items()} == {"mood": (2, 2), "topic": (2, 5)}
    assert torch.equal(model(task="topic", **batch), every["topic"])
    assert torch.equal(model(task="topic", pooled=model.pool(**batch)), every["topic"])


@pytest.mark.parametrize("mask", [[1, 1, 0], [0, 1, 0], [1, 1, 1], None])
def test_last_takes_the_last_real_token_on_either_side_of_padding(mask: list[int] | None) -> None:
    inputs = {} if mask is None else {"attention_mask": torch.tensor([mask])}
    position = 2 if mask is None else max(index for index, real in enumerate(mask) if real)
    assert torch.equal(model_over(STATES, "last").pool(**inputs), STATES[:, position])


def test_last_goes_text_by_text() -> None:
    states = torch.arange(12.0).reshape(2, 3, 2)
    pooled = model_over(states, "last").pool(attention_mask=torch.tensor([[1, 0, 0], [1, 1, 1]]))
    assert torch.equal(pooled, torch.stack([states[0, 0], states[1, 2]]))
