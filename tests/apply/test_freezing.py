"""What ``apply_freeze`` does to a live model, and what it refuses."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import nn

import freezeplan
from freezeplan.api import apply_freeze, compile_plan
from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.from_module import inventory_of
from tests.apply.splitting import all_names, expected_eval, names_of, plan_training, split_models
from tests.strategies import as_inventory, as_module, trees


def modes(model: nn.Module) -> dict[str, bool]:
    """Return whether each module, at each of its places, is in training mode."""
    return {path: module.training for path, module in model.named_modules(remove_duplicate=False)}


def expected_modes(model: nn.Module, trained: list[str]) -> dict[str, bool]:
    """Return what the modes law says; a module at several places is in eval mode if it is at all of them."""
    in_eval = expected_eval(model, trained)
    places: dict[int, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        places.setdefault(id(module), []).append(path)
    return {path: not in_eval.issuperset(paths) for paths in places.values() for path in paths}


@settings(max_examples=60)
@given(trees())
def test_the_records_and_the_modules_of_a_tree_agree(tree: Any) -> None:
    records, live = as_inventory(tree), inventory_of(as_module(tree))
    assert [info.name for info in records.params] == [info.name for info in live.params]
    assert [info.path for info in records.modules] == [info.path for info in live.modules]


@settings(max_examples=60)
@given(split_models())
def test_what_is_frozen_needs_no_gradient_and_holds_none(made: Any) -> None:
    model, trained = made
    for tensor in model.parameters():
        tensor.grad = torch.ones_like(tensor)
    apply_freeze(model, plan_training(model, trained))
    for name, tensor in all_names(model).items():
        assert (tensor.requires_grad, tensor.grad is not None) == (name in trained, name in trained)


@settings(max_examples=60)
@given(split_models())
def test_modes_follow_the_law_and_last(made: Any) -> None:
    model, trained = made
    apply_freeze(model, plan_training(model, trained))
    expected = expected_modes(model, trained)
    assert modes(model) == expected
    model.train()
    assert modes(model) == expected
    model.eval()
    assert not any(modes(model).values())
    model.train()
    assert modes(model) == expected
    for child in model.modules():
        child.train()
    assert modes(model) == expected


@settings(max_examples=40)
@given(split_models())
def test_another_plan_undoes_the_first(made: Any) -> None:
    model, trained = made
    rest = [name for name in all_names(model) if name not in trained]
    for names in (trained, rest, list(all_names(model))):
        apply_freeze(model, plan_training(model, names))
        assert modes(model) == expected_modes(model, names)
        assert [name for name, tensor in all_names(model).items() if tensor.requires_grad] == names
    assert all(modes(model).values())


@settings(max_examples=30)
@given(split_models())
def test_compiling_changes_nothing(made: Any) -> None:
    model, trained = made
    before = modes(model), {name: tensor.requires_grad for name, tensor in all_names(model).items()}
    plan_training(model, trained)
    assert before == (modes(model), {name: tensor.requires_grad for name, tensor in all_names(model).items()})


def body_and_head() -> nn.Sequential:
    """Return a body with BatchNorm and dropout, and a linear head."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    return nn.Sequential(body, nn.Linear(4, 2))


HEAD = ["1.weight", "1.bias"]


def test_frozen_batch_norm_keeps_its_statistics_and_frozen_dropout_is_off() -> None:
    model = body_and_head()
    apply_freeze(model, plan_training(model, HEAD))
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.train()
    batch = torch.randn(8, 4)
    assert torch.equal(model(batch), model(batch))
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())


def test_without_the_freeze_the_same_model_does_both() -> None:
    model = body_and_head().train()
    batch = torch.randn(8, 4)
    assert not torch.equal(model(batch), model(batch))
    assert model[0][1].num_batches_tracked == 2


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_model_with_pinned_modules_can_be_copied_and_pickled(duplicate: Any) -> None:
    model = body_and_head()
    apply_freeze(model, plan_training(model, HEAD))
    other = duplicate(model)
    other.train()
    assert modes(other) == expected_modes(model, HEAD)
    apply_freeze(other, plan_training(other, list(all_names(other))))
    assert all(modes(other).values())
    model.train()
    assert modes(model) == expected_modes(model, HEAD)


class Two(nn.Module):
    """Two blocks that share one dropout; ``live_first`` decides which of them is registered first."""

    def __init__(self, live_first: bool) -> None:
        super().__init__()
        dropout = nn.Dropout()
        for name in ("live", "frozen") if live_first else ("frozen", "live"):
            self.add_module(name, nn.Sequential(nn.Linear(2, 2), dropout))


@pytest.mark.parametrize("live_first", [True, False])
def test_a_shared_dropout_stays_live_while_one_of_its_places_trains(live_first: bool) -> None:
    model = Two(live_first)
    apply_freeze(model, plan_training(model, ["live.0.weight", "live.0.bias"]))
    for _ in range(2):
        model.train()
        assert model.live[1].training
        assert not model.frozen.training
    model.eval()
    assert not model.live[1].training


class Head(nn.Module):
    """A head whose dropout is registered before its linear layer, as that of the bundled heads is."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout()
        self.linear = nn.Linear(2, 2)


def test_a_trainable_heads_own_dropout_stays_live() -> None:
    model = nn.Module()
    model.backbone = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    model.heads = nn.ModuleDict({"a": Head(), "b": Head()})
    names = [name for name in all_names(model) if name.startswith("heads.")]
    apply_freeze(model, plan_training(model, names))
    assert (model.heads["a"].dropout.training, model.heads["b"].dropout.training) == (True, True)
    assert not model.backbone[1].training
    apply_freeze(model, plan_training(model, ["heads.b.linear.weight", "heads.b.linear.bias"]))
    assert (model.heads["a"].dropout.training, model.heads["b"].dropout.training) == (False, True)


def test_a_dropout_between_frozen_embeddings_and_trainable_layers_is_off() -> None:
    from transformers import GPT2Config, GPT2Model

    model = GPT2Model(GPT2Config(n_layer=4, n_embd=8, n_head=2, vocab_size=16, n_positions=8))
    plan = compile_plan(model, rules(("**", "frozen"), ("@layers[-2:]", "trainable")))
    apply_freeze(model, plan)
    assert not model.drop.training
    assert not model.h[1].mlp.dropout.training
    assert model.h[2].mlp.dropout.training
    apply_freeze(model, compile_plan(model, rules(("**", "trainable"))))
    assert model.drop.training


def rules(*pairs: tuple[str, str], **more: Any) -> dict[str, Any]:
    """Return a spec of (pattern, state) rules; keywords go into the last."""
    tables: list[dict[str, Any]] = [{"match": match, "state": state} for match, state in pairs]
    tables[-1].update(more)
    return {"rule": tables}


class Prepared(nn.Module):
    """A module that prepares something when it is put into eval mode, as TinyViT's attention does."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.inner = nn.Parameter(torch.randn(2)), nn.Dropout()

    def train(self, mode: bool = True) -> Prepared:
        super().train(mode)
        if mode:
            self.__dict__.pop("ready", None)
        else:
            self.ready = 2 * self.table.detach()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + (2 * self.table if self.training else self.ready)


@pytest.mark.parametrize("asked", [None, True, False])
def test_a_frozen_module_with_a_train_method_of_its_own_prepares_its_eval_mode(asked: bool | None) -> None:
    model = nn.Sequential(Prepared(), nn.Linear(2, 2))
    rules = [{"match": "0", "state": "frozen"}, {"match": "1", "state": "trainable"}]
    freezeplan.apply_freeze(model, freezeplan.compile_plan(model, {"rule": rules}))
    if asked is not None:
        model.train(asked)
    x = torch.ones(3, 2)
    assert torch.equal(model[0](x), x + 2 * model[0].table)
    assert not model[0].inner.training and model.training is (asked is not False)
    freezeplan.apply_freeze(
        model, freezeplan.compile_plan(model, {"rule": [{"match": "**", "state": "trainable"}]})
    )
    assert model[0].training and model[0].inner.training and "ready" not in model[0].__dict__


def test_eval_mode_false_keeps_frozen_modules_in_training_mode() -> None:
    model = body_and_head()
    plan = compile_plan(model, rules(("1", "trainable"), ("0", "frozen"), eval_mode=False))
    apply_freeze(model, plan)
    assert all(modes(model).values())
    assert not model[0][0].weight.requires_grad
    assert set(plan.phases[0].kept_in_train_mode) == {"0", "0.0", "0.1", "0.2"}


def untie(model: nn.Module) -> None:
    model.b.weight = nn.Parameter(model.b.weight.detach().clone())


def tie(model: nn.Module) -> None:
    model.c.weight = model.a.weight


STRANGERS = {
    "a parameter is missing": (lambda m: delattr(m, "c"), "`c.weight` is not in the model"),
    "a parameter is new": (lambda m: m.add_module("d", nn.Linear(2, 2)), "`d.weight` is not in the plan"),
    "a shape differs": (
        lambda m: setattr(m, "c", nn.Linear(3, 2)),
        "`c.weight` has shape (2, 3), the plan says (2, 2)",
    ),
    "a tie is gone": (untie, "`b.weight` is no longer tied to `a.weight`"),
    "a tie is new": (tie, "`c.weight` is now tied to `a.weight`"),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_a_plan_for_another_model_is_refused_before_anything_changes(kind: str) -> None:
    model = nn.Module()
    for name in "abc":
        model.add_module(name, nn.Linear(2, 2))
    model.b.weight = model.a.weight
    plan = plan_training(model, ["c.bias"])
    change, note = STRANGERS[kind]
    change(model)
    for call in (lambda: apply_freeze(model, plan), lambda: freezeplan.build_param_groups(model, plan)):
        with pytest.raises(DiagnosticError) as caught:
            call()
        assert [item.code for item in caught.value.diagnostics] == ["FP414"]
        assert note in caught.value.diagnostics[0].notes
        assert all(tensor.requires_grad for tensor in model.parameters())
        assert all(modes(model).values())


def wrapped(kind: str, model: nn.Module) -> nn.Module:
    """Return the model inside a wrapper that puts a prefix before its names."""
    return torch.compile(model) if kind == "compile" else nn.DataParallel(model)


@pytest.mark.parametrize("kind", ["compile", "data parallel"])
def test_names_survive_wrappers(kind: str) -> None:
    model = body_and_head()
    plan = plan_training(model, HEAD)
    outer = wrapped(kind, model)
    assert compile_plan(outer, rules(("**", "frozen"))).names(trainable=False) == tuple(all_names(model))
    apply_freeze(outer, plan)
    outer.train()
    assert modes(model) == expected_modes(model, HEAD)
    assert names_of(model, [t for t in outer.parameters() if t.requires_grad]) == HEAD
