"""Logits a few tokens at a time: the loss and every gradient are those of all logits at once."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from freezeplan.tasks import token_logits as module
from freezeplan.tasks.token_logits import TokenLogits

TARGET = torch.tensor([[0, 3], [1, 0], [5, 6], [7, 2], [4, 2]])


def made(*, frozen: bool, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.nn.Linear]:
    torch.manual_seed(1)
    head = torch.nn.Linear(4, 7, dtype=dtype).requires_grad_(not frozen)
    return torch.randn(2, 4, 4, dtype=dtype, requires_grad=True), head


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_loss_and_gradients_are_those_of_all_logits(
    monkeypatch: pytest.MonkeyPatch, frozen: bool, at_once: int
) -> None:
    monkeypatch.setattr(TokenLogits, "_at_once", lambda *_: at_once)
    states, head = made(frozen=frozen)
    logits = head(states).flatten(0, 1)[TARGET[:, 0]]
    expected = cross_entropy(logits, TARGET[:, 1], reduction="sum")
    inputs = [states, *(() if frozen else head.parameters())]
    wanted = torch.autograd.grad(3.0 * expected, inputs)
    found = TokenLogits(states, head, 7, list(head.parameters())).loss(TARGET)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    for one, other in zip(torch.autograd.grad(3.0 * found, inputs), wanted, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("frozen", "chunks"), [(True, [2, 2, 1]), (False, [4, 1])])
def test_no_more_logits_are_there_than_fit_or_than_a_learning_weight_has_numbers(
    monkeypatch: pytest.MonkeyPatch, frozen: bool, chunks: list[int]
) -> None:
    monkeypatch.setattr(module, "NUMBERS_ON_CPU", 14)
    states, head = made(frozen=frozen)
    seen: list[int] = []

    def watched(chunk: torch.Tensor) -> torch.Tensor:
        seen.append(len(chunk))
        return head(chunk)

    out = TokenLogits(states, watched, 7, list(head.parameters()))
    out.loss(TARGET).backward()
    assert seen == chunks
    out.scored(TARGET)
    out.scored(TARGET)
    assert seen == [*chunks, 2, 2, 1], "the losses and the hits of one batch need one pass"


def test_sums_of_weights_are_kept_in_float32() -> None:
    states, head = made(frozen=False, dtype=torch.bfloat16)
    TokenLogits(states, head, 7, list(head.parameters())).loss(TARGET).backward()
    assert head.weight.grad is not None and head.weight.grad.dtype == torch.bfloat16
    assert states.grad is not None and states.grad.dtype == torch.bfloat16


def test_what_trains_below_a_frozen_head_gets_its_gradient_and_nothing_else_does() -> None:
    states, head = made(frozen=True)
    TokenLogits(states, head, 7, list(head.parameters())).loss(TARGET).backward()
    assert head.weight.grad is None and states.grad is not None
    told = states.grad.flatten(0, 1).abs().sum(dim=1) > 0
    assert told.nonzero().flatten().tolist() == sorted(TARGET[:, 0].tolist())


def test_a_batch_without_targets_is_zero() -> None:
    states, head = made(frozen=False)
    loss = TokenLogits(states, head, 7, list(head.parameters())).loss(TARGET[:0])
    loss.backward()
    assert loss.item() == 0.0
    assert not any(tensor.grad.any() for tensor in (states, *head.parameters())), "zeros, not nothing"


def test_no_gradient_is_worked_out_that_nobody_asks_for() -> None:
    states, head = made(frozen=False)
    asked: list[bool] = []

    def watched(chunk: torch.Tensor) -> torch.Tensor:
        asked.append(torch.is_grad_enabled())
        return head(chunk)

    with torch.no_grad():
        loss = TokenLogits(states, watched, 7, list(head.parameters())).loss(TARGET)
    assert not loss.requires_grad and asked == [False]


def test_weights_that_are_added_to_each_other_keep_their_own_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TokenLogits, "_at_once", lambda *_: 2)
    states, head = made(frozen=True)
    biases = [torch.zeros(7, requires_grad=True) for _ in range(2)]
    TokenLogits(states, lambda some: head(some) + (biases[0] + biases[1]), 7, biases).loss(TARGET).backward()
    logits = head(states).flatten(0, 1)[TARGET[:, 0]].detach().requires_grad_()
    cross_entropy(logits, TARGET[:, 1], reduction="sum").backward()
    for bias in biases:
        torch.testing.assert_close(bias.grad, logits.grad.sum(dim=0))


def test_a_weight_that_the_head_does_not_use_gets_no_gradient() -> None:
    states, head = made(frozen=True)
    unused = torch.zeros(3, requires_grad=True)
    TokenLogits(states, head, 7, [unused]).loss(TARGET).backward()
    assert unused.grad is None and states.grad is not None
