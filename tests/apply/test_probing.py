"""An optimizer from elsewhere is stepped over two small groups: it follows the plan's rates, or it is refused."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import nn

import freezeplan
from freezeplan.apply import build_optimizer
from freezeplan.diagnostics import DiagnosticError

HERE = __name__


class Follows(torch.optim.Optimizer):
    """Step by the sign of the gradient, at the group's rate."""

    def __init__(self, params: Any, lr: float = 1e-4) -> None:
        super().__init__(params, {"lr": lr})
        self.steps = 0

    def rate(self, group: dict[str, Any]) -> float:
        """Return the rate of a group in this step."""
        return group["lr"]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Take a step."""
        self.steps += 1
        for group in self.param_groups:
            for tensor in group["params"]:
                if tensor.grad is not None:
                    tensor.sub_(self.rate(group) * tensor.grad.sign())


class TakesTheLargest(Follows):
    """Take one rate for all groups."""

    def rate(self, group: dict[str, Any]) -> float:
        """Return the largest."""
        return max(item["lr"] for item in self.param_groups)


class RefusesSeveral(Follows):
    """Refuse several rates in its step, as Prodigy does."""

    def rate(self, group: dict[str, Any]) -> float:
        """Return the one rate."""
        if len({item["lr"] for item in self.param_groups if item["lr"]}) > 1:
            raise RuntimeError("one rate, please")
        return group["lr"]


class TakesARoot(Follows):
    """Step in proportion to the root of the rate, as MADGRAD nearly does."""

    def rate(self, group: dict[str, Any]) -> float:
        """Return the root."""
        return group["lr"] ** 0.5


class CountsOutside(Follows):
    """Grow with a count of steps that lies in neither state nor groups."""

    def rate(self, group: dict[str, Any]) -> float:
        """Return the rate times the steps so far."""
        return group["lr"] * self.steps


class FindsItsRate(Follows):
    """Begin with tiny steps, which grow to the rate, as Prodigy does."""

    def rate(self, group: dict[str, Any]) -> float:
        """Return the rate as far as it has been found."""
        return group["lr"] * min(1.0, 1e-3 * 2**self.steps)


class Restless(Follows):
    """Draw a random number in each step, and talk."""

    def rate(self, group: dict[str, Any]) -> float:
        """Return the rate, or a little less."""
        print("a step")
        return group["lr"] * (0.9 + 0.1 * float(torch.rand(())))


class Asks(Follows):
    """Ask for the loss."""

    def step(self, closure: Any) -> None:
        """Take a step."""
        closure()


def built(kind: type, *, rates: bool = True, thaws: bool = False) -> torch.optim.Optimizer:
    """Build an optimizer for a plan with one or two rates, and a thaw or none."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    body = {"name": "body", "match": "0", "state": "frozen" if thaws else "trainable"}
    head = {"name": "head", "match": "1", "state": "trainable", **({"lr_mult": 10.0} if rates else {})}
    later = [
        {"name": "head", "steps": 9},
        {"name": "all", "steps": 9, "rule": [body | {"state": "trainable"}]},
    ]
    spec = {
        "optimizer": {"class": f"{HERE}:{kind.__name__}", "lr": 0.01, "weight_decay": 0.0},
        "rule": [body, head],
    }
    return build_optimizer(model, freezeplan.compile_plan(model, spec | ({"phase": later} if thaws else {})))


@pytest.mark.parametrize("kind", [Follows, FindsItsRate, Restless, Asks])
def test_one_that_follows_or_cannot_be_judged_is_built(
    kind: type, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    assert [group["lr"] for group in built(kind, thaws=True).param_groups]
    assert not caplog.messages and not capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "words"), [(TakesTheLargest, "takes 1 of its step"), (RefusesSeveral, "one rate, please")]
)
def test_one_that_takes_one_rate_for_all_groups_is_refused(kind: type, words: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        built(kind)
    (found,) = caught.value.diagnostics
    assert found.code == "FP422"
    assert (
        found.message.startswith(f"{kind.__name__} does not follow several rates") and words in found.message
    )
    assert built(kind, rates=False)


def test_another_ratio_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "freezeplan"):
        built(TakesARoot)
    assert [message.partition(":")[0] for message in caplog.messages] == [
        "TakesARoot does not follow the ratios of rates"
    ]


def test_so_are_counts_that_a_thaw_cannot_begin_anew(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "freezeplan"):
        built(CountsOutside, rates=False)
        assert not caplog.messages
        built(CountsOutside, rates=False, thaws=True)
    (message,) = caplog.messages
    assert "the first update of what thaws after 20 steps is 21.0 times that of a new optimizer" in message


def test_looking_draws_no_random_number() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    rules = [{"match": "**", "state": "trainable"}, {"match": "1", "lr_mult": 10.0}]
    spec = {"optimizer": {"class": f"{HERE}:Restless", "lr": 0.01, "weight_decay": 0.0}, "rule": rules}
    plan = freezeplan.compile_plan(model, spec)
    torch.manual_seed(3)
    build_optimizer(model, plan)
    assert torch.equal(torch.rand(2), expected)
