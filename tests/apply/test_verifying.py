"""What ``verify`` finds before the first step: tensors that were replaced, states and modes that left the plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import freezeplan
from freezeplan.diagnostics import DiagnosticError
from tests.apply.wrapping import one_process, sharded, tiny

SPEC = {
    "optimizer": {"no_decay": []},
    "rule": [
        {"name": "all", "match": "**", "state": "frozen"},
        {"name": "head", "match": "1", "state": "trainable"},
    ],
}

WHOLE = {"rule": [{"match": "**", "state": "trainable"}]}


def ready() -> tuple[nn.Sequential, freezeplan.Plan, torch.optim.Optimizer]:
    """Return a model under a plan, the plan, and its optimizer."""
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Dropout()), nn.Linear(2, 2))
    plan = freezeplan.compile_plan(model, SPEC)
    return model, plan, torch.optim.AdamW(freezeplan.build_param_groups(model, plan))


def findings(*arguments: Any, **more: Any) -> dict[str, tuple[str, ...]]:
    """Return the notes of what ``verify`` raises, by code; nothing where it passes."""
    try:
        freezeplan.verify(*arguments, **more)
    except DiagnosticError as error:
        return {item.code: item.notes for item in error.diagnostics}
    return {}


def test_what_is_ready_passes_before_and_after_a_step() -> None:
    model, plan, optimizer = ready()
    assert findings(model, plan) == findings(model, plan, optimizer) == {}
    model.train()
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert findings(model, plan, optimizer) == {}
    model.eval()
    freezeplan.verify(model, plan, optimizer)


def assign(model: nn.Module) -> None:
    model.load_state_dict({key: value.clone() for key, value in model.state_dict().items()}, assign=True)


def test_an_optimizer_over_other_tensors_is_refused() -> None:
    model, plan, optimizer = ready()
    model[1].weight = nn.Parameter(model[1].weight.detach().clone())
    assert findings(model, plan, optimizer) == {
        "FP432": (
            "1 tensors of group `head` are not the model's, `1.weight` first",
            "`1.weight` is to train, but no group holds it",
        )
    }


def test_loading_by_assignment_is_found() -> None:
    model, plan, optimizer = ready()
    assign(model)
    found = findings(model, plan, optimizer)
    assert "FP432" in found
    trainable = [tensor.requires_grad for tensor in model.parameters()]
    assert ("FP433" in found) == any(trainable[:2])
    freezeplan.verify(model, plan, torch.optim.AdamW(freezeplan.build_param_groups(model, plan)))


def thaw(model: nn.Module) -> None:
    model[0][0].weight.requires_grad_(True)


def leave_a_gradient(model: nn.Module) -> None:
    model[0][0].bias.grad = torch.zeros(2)


def unpin(model: nn.Module) -> None:
    model[0][1].training = True


LEFT: dict[str, tuple[Callable[[nn.Module], None], str]] = {
    "thawed": (thaw, "`0.0.weight` is trainable, the plan says frozen"),
    "frozen": (lambda m: m[1].requires_grad_(False), "`1.weight` is frozen, the plan says trainable"),
    "stale gradient": (leave_a_gradient, "`0.0.bias` is frozen but holds a gradient"),
    "training mode": (unpin, "`0.1` is in training mode, the plan says eval mode"),
}


@pytest.mark.parametrize("how", LEFT)
def test_a_model_that_left_its_plan_is_refused(how: str) -> None:
    model, plan, optimizer = ready()
    change, note = LEFT[how]
    change(model)
    (found,) = findings(model, plan, optimizer).items()
    assert found[0] == "FP433"
    assert found[1][0].startswith(note)


def thaw_by_hand(model: nn.Sequential) -> None:
    model[0].requires_grad_(True)


def thaw_and_train(model: nn.Sequential) -> None:
    model[0].requires_grad_(True)
    model.train()


def one_in_eval_mode(model: nn.Sequential) -> None:
    freezeplan.apply_freeze(model, freezeplan.compile_plan(model, WHOLE))
    model[1].eval()


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (thaw_by_hand, "`0` is held in eval mode, the plan says training mode"),
        (thaw_and_train, "`0` is held in eval mode, the plan says training mode"),
        (one_in_eval_mode, "`1` is in eval mode, the plan says training mode"),
    ],
)
def test_a_thawed_module_that_stays_in_eval_mode_is_found(change: Callable[[Any], None], note: str) -> None:
    model, _, _ = ready()
    change(model)
    assert note in findings(model, freezeplan.compile_plan(model, WHOLE))["FP433"]


def test_a_frozen_module_that_was_replaced_is_no_longer_held_in_eval_mode() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), nn.Linear(2, 2))
    plan = freezeplan.compile_plan(model, SPEC)
    freezeplan.apply_freeze(model, plan)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    (note,) = findings(converted, plan)["FP433"]
    assert note.startswith("`0.1` is in eval mode, but `train()` would take it out")
    freezeplan.apply_freeze(converted, plan)
    freezeplan.verify(converted, plan)


def test_a_state_in_another_order_of_the_tensors_is_found() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    plan = freezeplan.compile_plan(model, {"rule": [{"match": "**", "state": "trainable"}]})
    (group,) = freezeplan.build_param_groups(model, plan)
    other = torch.optim.AdamW([{**group, "params": group["params"][::-1]}])
    model(torch.ones(1, 2)).sum().backward()
    other.step()
    optimizer = torch.optim.AdamW(freezeplan.build_param_groups(model, plan))
    optimizer.load_state_dict(other.state_dict())
    assert findings(model, plan, optimizer)["FP432"] == (
        "`0.weight` stands under the name of `1.weight`: the state of another order was loaded",
        "`1.weight` stands under the name of `0.weight`: the state of another order was loaded",
    )


def test_an_optimizer_that_lacks_a_tensor_is_refused() -> None:
    model, plan, _ = ready()
    lacking = torch.optim.AdamW([model[1].bias])
    assert findings(model, plan, lacking) == {"FP432": ("`1.weight` is to train, but no group holds it",)}


def test_a_plan_for_another_model_comes_first() -> None:
    _, plan, optimizer = ready()
    assert list(findings(nn.Linear(2, 2), plan, optimizer)) == ["FP414"]


@pytest.mark.parametrize("call", [freezeplan.apply_freeze, freezeplan.verify])
def test_a_phase_is_named_by_its_place_or_its_name(call: Any) -> None:
    model, plan, _ = ready()
    call(model, plan, phase=0)
    call(model, plan, phase=plan.phases[0].name)
    for wrong in (99, "nowhere"):
        with pytest.raises((KeyError, ValueError), match=plan.phases[0].name):
            call(model, plan, phase=wrong)


def test_an_optimizer_from_before_fully_shard_is_refused(tmp_path: Path) -> None:
    model = tiny("bert")
    rules = [{"name": "all", "match": "**", "state": "trainable"}]
    plan = freezeplan.compile_plan(model, {"optimizer": {"no_decay": []}, "rule": rules})
    early = torch.optim.AdamW(freezeplan.build_param_groups(model, plan))
    with one_process(tmp_path):
        sharded(model)
        (found,) = findings(model, plan, early).items()
        freezeplan.verify(model, plan, torch.optim.AdamW(freezeplan.build_param_groups(model, plan)))
    count = len(plan.names(trainable=True))
    first = "bert.embeddings.word_embeddings.weight"
    assert (found[0], found[1][0]) == (
        "FP432",
        f"{count} tensors of group `all` are not the model's, `{first}` first",
    )
