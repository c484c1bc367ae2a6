"""One spec for a model and the wrapped model: the same names, roles, plan, and the same weights after training."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointImpl, checkpoint_wrapper
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

import freezeplan
from benchmarks import inner_and_outer
from freezeplan.apply import build_optimizer
from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.names import canonical_parameters
from tests.apply.wrapping import (
    MODELS,
    WRAPPERS,
    checkpointing,
    each_layer,
    layers_of,
    one_process,
    sharded,
    tiny,
    train,
    values,
)


@pytest.fixture(scope="module", autouse=True)
def process_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with one_process(tmp_path_factory.mktemp("group")):
        yield


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    yield
    torch._dynamo.reset()


def upper_layers(name: str) -> dict[str, Any]:
    """Return a spec with layer decay over the two upper layers, and a head of ten times the rate."""
    decay = {"rate": 0.5, "formula": "beit"}
    rules: list[dict[str, Any]] = [
        {"name": "all", "match": "**", "state": "frozen"},
        {"name": "upper", "match": "@layers[-2:]", "state": "trainable", "layer_decay": decay},
        {"name": "head", "match": "@heads", "state": "trainable", "lr_mult": 10.0},
    ]
    # Llama's head is its embedding.
    return {"optimizer": {"lr": 1e-2}, "rule": rules[:2] if name == "llama" else rules}


@cache
def trained_plain(name: str) -> dict[str, torch.Tensor]:
    """Return the weights of the model itself after two steps."""
    model = tiny(name)
    train(name, model, torch.optim.AdamW(freezeplan.build_param_groups(model, upper_layers(name))))
    return values(model)


def codes(error: DiagnosticError) -> list[str]:
    return [item.code for item in error.diagnostics]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", WRAPPERS)
def test_a_wrapped_model_has_the_same_inventory_and_plan(kind: str, name: str) -> None:
    plain, wrapped = tiny(name), WRAPPERS[kind](tiny(name))
    assert inventory_of(wrapped) == inventory_of(plain)
    spec = upper_layers(name)
    assert freezeplan.compile_plan(wrapped, spec) == freezeplan.compile_plan(plain, spec)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", WRAPPERS)
def test_exactly_what_is_planned_moves_and_to_the_same_bits(kind: str, name: str) -> None:
    model, spec = tiny(name), upper_layers(name)
    plan = freezeplan.compile_plan(model, spec)
    freezeplan.apply_freeze(model, plan)
    wrapped = WRAPPERS[kind](model)
    optimizer = torch.optim.AdamW(freezeplan.build_param_groups(wrapped, spec))
    freezeplan.verify(wrapped, plan, optimizer)
    assert train(name, wrapped, optimizer) == set(plan.names(trainable=True))
    after = values(wrapped)
    assert all(torch.equal(after[key], value) for key, value in trained_plain(name).items())


DDP = nn.parallel.DistributedDataParallel


def test_freezing_or_thawing_inside_ddp_is_refused() -> None:
    model = tiny("bert")
    spec = upper_layers("bert")
    with pytest.raises(DiagnosticError) as caught:
        freezeplan.build_param_groups(DDP(model), spec)
    assert codes(caught.value) == ["FP430"]
    assert all(tensor.requires_grad for tensor in model.parameters())
    freezeplan.apply_freeze(model, freezeplan.compile_plan(model, spec))
    all_train = freezeplan.compile_plan(model, {"rule": [{"match": "**", "state": "trainable"}]})
    with pytest.raises(DiagnosticError) as caught:
        freezeplan.apply_freeze(DDP(model, find_unused_parameters=True), all_train)
    assert codes(caught.value) == ["FP430"]
    assert "`bert.embeddings.word_embeddings.weight` first" in caught.value.diagnostics[0].message


def test_ddp_that_looks_for_unused_parameters_lets_go_of_some_and_takes_them_back() -> None:
    wrapped = DDP(tiny("bert"), find_unused_parameters=True)
    plan = freezeplan.compile_plan(wrapped, upper_layers("bert"))
    freezeplan.apply_freeze(wrapped, plan)
    assert train("bert", wrapped, build_optimizer(wrapped, plan)) == set(plan.names(trainable=True))
    all_train = freezeplan.compile_plan(wrapped, {"rule": [{"match": "**", "state": "trainable"}]})
    freezeplan.apply_freeze(wrapped, all_train)
    assert train("bert", wrapped, build_optimizer(wrapped, all_train)) == set(values(wrapped))


def test_groups_built_after_an_evaluation_hold_the_sharded_tensors() -> None:
    model = sharded(tiny("bert"))
    model.eval()
    with torch.no_grad():
        model(**MODELS["bert"][3])
    spec = upper_layers("bert")
    plan = freezeplan.compile_plan(model, spec)
    optimizer = torch.optim.AdamW(freezeplan.build_param_groups(model, spec))
    assert train("bert", model, optimizer) == set(plan.names(trainable=True))


def partly_sharded() -> Any:
    """Shard the layers only: the head and the embeddings stay plain tensors."""
    model = tiny("bert")
    mesh = init_device_mesh("cpu", (1,))
    for layer in layers_of(model):
        fully_shard(layer, mesh=mesh)
    return model


ALL = {
    "optimizer": {"lr": 1e-2, "no_decay": []},
    "rule": [{"name": "all", "match": "**", "state": "trainable"}],
}


@pytest.mark.parametrize("options", [{}, {"foreach": True}, {"fused": True}], ids=str)
def test_a_group_of_sharded_and_plain_tensors_is_split(options: dict[str, bool]) -> None:
    model = partly_sharded()
    plan = freezeplan.compile_plan(model, ALL)
    optimizer = build_optimizer(model, plan, **options)
    kinds = [{hasattr(t, "device_mesh") for t in group["params"]} for group in optimizer.param_groups]
    assert kinds == [{False}, {True}]
    assert [group["name"] for group in optimizer.param_groups] == ["all", "all/sharded"]
    assert {group["lr"] for group in optimizer.param_groups} == {1e-2}
    assert train("bert", model, optimizer) == set(plan.names(trainable=True))


def test_torch_refuses_the_group_unsplit() -> None:
    model = partly_sharded()
    optimizer = torch.optim.AdamW(model.parameters(), foreach=True)
    with pytest.raises(RuntimeError, match="mixed torch.Tensor and DTensor"):
        train("bert", model, optimizer)


def test_parameters_that_fsdp_flattened_are_refused() -> None:
    with pytest.raises(DiagnosticError) as caught:
        inventory_of(FullyShardedDataParallel(tiny("bert"), device_id=torch.device("cpu")))
    assert codes(caught.value) == ["FP174"]


def reentrant(model: Any) -> Any:
    """Checkpoint every layer the old way, by torch's wrapper."""
    return each_layer(model, lambda layer: checkpoint_wrapper(layer, CheckpointImpl.REENTRANT))


def reentrant_by_transformers(model: Any) -> Any:
    """Checkpoint every layer the old way, by transformers, which helps itself where the inputs are tokens."""
    model.activation_checkpointing_enable({"use_reentrant": True})
    return model


def reentrant_of_old(model: Any) -> Any:
    """Ask for gradients of the inputs as earlier versions of transformers did, which kept one hook."""
    model = reentrant(model)
    output = model.get_input_embeddings().register_forward_hook
    model._require_grads_hook = output(lambda module, given, found: found.requires_grad_(True))
    return model


@pytest.mark.parametrize(("wrap", "name"), [(reentrant, "bert"), (reentrant_by_transformers, "vit")])
def test_reentrant_checkpointing_behind_a_frozen_part_is_refused(wrap: Any, name: str) -> None:
    model, spec = wrap(tiny(name)), upper_layers(name)
    with pytest.raises(DiagnosticError) as caught:
        freezeplan.build_param_groups(model, spec)
    assert codes(caught.value) == ["FP431"]
    assert ".1` is checkpointed" in caught.value.diagnostics[0].message
    # Without the refusal this is what would happen: of all that is planned, only the head learns.
    groups = freezeplan.build_param_groups(model, spec, freeze=False)
    planned = freezeplan.compile_plan(model, spec).names(trainable=True)
    for key, _, tensor in canonical_parameters(model):
        tensor.requires_grad_(key in planned)
    assert train(name, model, torch.optim.SGD(groups)) == {"classifier.weight", "classifier.bias"}


def test_without_the_hook_on_the_embeddings_checkpointing_loses_nothing() -> None:
    model = checkpointing(tiny("bert"))
    model.disable_input_require_grads()
    groups = freezeplan.build_param_groups(model, upper_layers("bert"))
    train("bert", model, torch.optim.AdamW(groups))
    after = values(model)
    assert all(torch.equal(after[key], value) for key, value in trained_plain("bert").items())


HARMLESS = {
    "without reentrance": (checkpointing, "@layers[-2:]"),
    "the embeddings train": (reentrant, ["@embeddings", "@layers[-2:]"]),
    "no checkpointed layer trains": (reentrant, "@heads"),
    "the inputs are made to want gradients": (reentrant_by_transformers, "@layers[-2:]"),
    "under the older name": (reentrant_of_old, "@layers[-2:]"),
}


@pytest.mark.parametrize("case", HARMLESS)
def test_other_checkpointing_is_not_refused(case: str) -> None:
    wrap, trained = HARMLESS[case]
    model = wrap(tiny("bert"))
    rules = [{"match": "**", "state": "frozen"}, {"match": trained, "state": "trainable"}]
    plan = freezeplan.compile_plan(model, {"optimizer": {"lr": 1e-2}, "rule": rules})
    freezeplan.apply_freeze(model, plan)
    assert train("bert", model, build_optimizer(model, plan)) == set(plan.names(trainable=True))


def several_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the one process be one of two as far as it asks."""
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)


def test_a_thaw_inside_ddp_is_refused_through_the_model_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    several_ranks(monkeypatch)
    model = tiny("bert")
    freezeplan.apply_freeze(model, freezeplan.compile_plan(model, upper_layers("bert")))
    wrapped = DDP(model, find_unused_parameters=True)
    plan = freezeplan.compile_plan(model, ALL)
    try:
        freezeplan.apply_freeze(model, plan)
    except DiagnosticError as error:
        found = codes(error)
    assert found == ["FP430"]
    del wrapped
    freezeplan.apply_freeze(model, plan)


def test_what_was_frozen_inside_ddp_may_thaw_again(monkeypatch: pytest.MonkeyPatch) -> None:
    several_ranks(monkeypatch)
    model = tiny("bert")
    upper, everything = (freezeplan.compile_plan(model, spec) for spec in (upper_layers("bert"), ALL))
    freezeplan.before_wrapping(model, everything)
    wrapped = DDP(model, find_unused_parameters=True)
    freezeplan.apply_freeze(model, upper)
    freezeplan.apply_freeze(wrapped, everything)
    freezeplan.apply_freeze(model, upper)
    with pytest.raises(DiagnosticError) as caught:
        freezeplan.apply_freeze(DDP(model), everything)
    assert codes(caught.value) == ["FP430"]


def test_ranks_that_hold_other_weights_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("bert")
    plan = freezeplan.compile_plan(model, ALL)
    freezeplan.apply_freeze(model, plan)
    wrapped = DDP(model)
    monkeypatch.setattr(type(wrapped.process_group), "size", lambda group: 2)

    def gather(found: list[Any], own: Any, group: Any) -> None:
        found[:] = [own, {**own, "classifier.bias": (True, "other")}]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    with pytest.raises(DiagnosticError) as caught:
        freezeplan.verify(wrapped, plan)
    (found,) = caught.value.diagnostics
    assert (found.code, found.notes) == (
        "FP434",
        ("`classifier.bias` is not on rank 1 what it is on rank 0",),
    )


@pytest.mark.slow
def test_two_ranks_stay_together_or_are_refused() -> None:
    found = inner_and_outer.outcomes()
    assert {case: each for case, each in found if not inner_and_outer.is_right(each)} == {}
    assert [each for case, each in found].count(["0.0e+00", "0.0e+00"]) == 8
