"""Warnings about what the model itself does: what it holds fixed, and modules that move or fail when frozen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import freezeplan


def told(model: nn.Module, *rules: dict[str, Any], **tables: Any) -> list[tuple[str, str]]:
    plan = freezeplan.compile_plan(model, {"rule": list(rules), **tables})
    return [(item.code, item.message) for item in plan.diagnostics if "FP491" <= item.code <= "FP496"]


def frozen(match: str, **more: Any) -> dict[str, Any]:
    return {"name": f"freeze {match}", "match": match, "state": "frozen", **more}


def trainable(match: str) -> dict[str, Any]:
    return {"name": f"train {match}", "match": match, "state": "trainable"}


def with_table() -> nn.Module:
    model = nn.Sequential(nn.Embedding(4, 4), nn.Linear(4, 2))
    model[0].weight.requires_grad_(False)
    return model


def test_what_the_model_holds_fixed_is_named_where_it_would_train() -> None:
    message = "1 tensor that the model holds fixed (requires_grad = False) would train: `0.weight`"
    assert told(with_table(), trainable("**")) == [("FP491", message)]
    assert told(with_table(), trainable("**"), frozen("0")) == []


def test_what_a_plan_froze_is_not_held_by_the_model() -> None:
    model = with_table()
    freezeplan.apply_freeze(model, freezeplan.compile_plan(model, {"rule": [frozen("**")]}))
    assert told(model, trainable("1"), frozen("0")) == []
    assert [code for code, _ in told(model, trainable("**"))] == ["FP491"]
    assert "1 tensor" in told(model, trainable("**"))[0][1]


def test_integers_are_not_held_but_cannot_train() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    model.register_parameter("codes", nn.Parameter(torch.zeros(2, dtype=torch.int8), requires_grad=False))
    assert told(model, frozen("codes"), trainable("0")) == []


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_a_frozen_table_with_a_longest_row_is_a_warning_and_does_move(kind: Any) -> None:
    model = nn.Sequential(kind(10, 4, max_norm=0.1), nn.Linear(4, 2))
    rules = [frozen("0"), trainable("1")]
    ((code, message),) = told(model, *rules)
    assert (code, message[:12], "max_norm = 0.1" in message) == ("FP494", "`0` is froze", True)
    freezeplan.build_param_groups(model, {"rule": rules})
    before = model[0].weight.clone()
    model(torch.zeros(1, 2, dtype=torch.long))
    assert not torch.equal(before, model[0].weight)
    assert told(model, trainable("**")) == []


def test_a_phase_that_freezes_such_a_table_is_named() -> None:
    model = nn.Sequential(nn.Embedding(10, 4, max_norm=1.0), nn.Linear(4, 2))
    phases = [{"name": "all", "epochs": 1}, {"name": "top", "epochs": 1, "rule": [frozen("0")]}]
    (found,) = told(model, trainable("**"), phase=phases)
    assert found[1].startswith("in phase `top`: `0` is frozen")


def test_frozen_batchnorm_needs_running_averages() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, track_running_stats=False), nn.BatchNorm2d(2))
    ((code, message),) = told(model, frozen("**"), trainable("0"))
    assert (code, message) == ("FP495", "1 frozen BatchNorm without running averages: `1`")
    assert told(model, trainable("**")) == []
    instance = nn.Sequential(nn.Linear(2, 2), nn.InstanceNorm1d(2, affine=True))
    assert told(instance, frozen("**"), trainable("0")) == []


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(2, 2)
        self.rnn = nn.GRU(2, 2)
        self.out = nn.Linear(2, 2)


def test_gradients_that_pass_a_frozen_recurrent_layer_are_a_warning() -> None:
    ((code, message),) = told(Recurrent(), trainable("**"), frozen("rnn"))
    assert code == "FP496"
    assert "`rnn` (GRU)" in message
    assert "to `embed.weight`" in message
    assert told(Recurrent(), frozen("**"), trainable("out")) == []
    assert told(Recurrent(), trainable("**"), frozen("rnn", eval_mode=False)) == []


class OtherWayRound(nn.Module):
    """Register what runs last first."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(2, 2)
        self.rnn = nn.GRU(2, 2)
        self.embed = nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return what comes out."""
        hidden, _ = self.rnn(self.embed(inputs))
        return self.out(hidden) * self.scale


def test_what_runs_before_is_read_from_the_code() -> None:
    assert told(OtherWayRound(), frozen("**"), trainable("out")) == []
    assert told(OtherWayRound(), frozen("**"), trainable("scale")) == []
    ((_, message),) = told(OtherWayRound(), frozen("**"), trainable("embed"))
    assert "to `embed.weight`" in message
    inside = nn.Sequential(OtherWayRound(), nn.Linear(2, 2))
    assert told(inside, frozen("**"), trainable("1")) == []
    ((_, message),) = told(nn.Sequential(nn.Linear(2, 2), OtherWayRound()), frozen("**"), trainable("0"))
    assert "`1.rnn` (GRU)" in message
