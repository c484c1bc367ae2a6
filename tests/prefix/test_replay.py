"""A replay is the model's own forward: same bits, same random stream, restored on any error, poison in the gaps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch

from freezeplan.models.multitask import MultiTaskModel
from freezeplan.prefix import Cut, PrefixStore, Reason, Refused, find_cut, prefix_in_eval_mode
from freezeplan.prefix import replay as replay_module
from freezeplan.prefix.forms import Form
from freezeplan.prefix.replay import record, replaying
from tests.prefix.architectures import ARCHITECTURES, TEXT, build, frozen_below, make_batch
from tests.prefix.running import Data, same_bits, training
from tests.prefix.test_cut import Bent
from tests.prefix.toys import Backbone, freeze_below, stack_of, toy

BATCH = make_batch(TEXT, [9, 5, 7, 4], 0)


def own_attributes(model: MultiTaskModel) -> list[list[str]]:
    return [sorted(module.__dict__) for module in model.modules()]


def store_of(model: MultiTaskModel, cut: Cut, data: Data) -> PrefixStore:
    store = PrefixStore(model, data.sources, data.batch)
    store.prepare([cut], batch_size=5)
    return store


def hidden_path(seventh: int) -> Callable[..., torch.Tensor]:
    """Return a way through the blocks that reads the first one's output where a token occurs."""

    def way(self: Backbone, hidden: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        first = self.layers[0](hidden, mask)
        hidden = first
        for layer in self.layers[1:]:
            hidden = layer(hidden, mask)
        return hidden + first if bool((ids == seventh).any()) else hidden

    return way


@pytest.fixture
def data_and_token() -> Iterator[tuple[Data, int]]:
    """Give inputs, and a token that none of the rows holds with which a cut is proved and a store checked."""
    data = Data()
    ids = data.ids
    seen = {token for row in (*ids[:4], *sorted(ids, key=len)[:7]) for token in row}
    yield data, next(token for row in ids for token in row if token not in seen)


def test_a_dependence_that_no_check_met_shows_as_nan(data_and_token: tuple[Data, int]) -> None:
    data, token = data_and_token
    model = toy(Bent(hidden_path(token)), frozen=2)
    cut = find_cut(model, stack_of(model), data.batch("topic", range(4)))
    store = store_of(model, cut, data)
    rows = [row for row, ids in enumerate(data.ids) if token in ids]
    with store.replaying(cut, "topic", rows):
        assert model(task="topic", **data.batch("topic", rows)).isnan().all()


def test_phantoms_are_nan_and_cost_no_memory() -> None:
    form = Form(in_tuple=False, like_input=False, tail=(7, 3), dtype=torch.float32, others=())
    phantom = form.phantom((torch.zeros(5, 7, 2),), {})
    assert phantom.shape == (5, 7, 3) and phantom.isnan().all()
    assert phantom.untyped_storage().nbytes() == 4


def test_the_uncached_run_has_no_dropout_below_the_cut_and_dropout_above() -> None:
    model = toy(frozen=2)
    cut = find_cut(model, stack_of(model), BATCH)
    seen: dict[str, bool] = {}

    def see(name: str, module: torch.nn.Module, *_: Any) -> None:
        seen[name] = module.training

    for name, module in model.named_modules():
        module.register_forward_pre_hook(partial(see, name))
    with prefix_in_eval_mode(model, cut):
        model(task="topic", **BATCH)
    below = ("backbone.embedding", "backbone.layers.0", "backbone.layers.1")
    assert {name for name, training in seen.items() if not training} == {
        name for name in seen if name == "backbone" or name.startswith(below)
    }
    assert all(module.training for module in model.modules())


def test_functional_dropout_of_a_container_is_off_below_the_cut() -> None:
    model = toy(frozen=2)
    cut = find_cut(model, stack_of(model), BATCH)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        states = []
        handle = model.backbone.layers[2].register_forward_pre_hook(
            lambda _, args, s=states: s.append(args[0])
        )
        with prefix_in_eval_mode(model, cut):
            model(task="topic", **BATCH)
        handle.remove()
        found.append(states[0])
    assert torch.equal(*found)


@pytest.mark.parametrize("frozen", [1, 2, 4])
def test_a_toy_trains_to_the_same_bits(frozen: int) -> None:
    data, expected_of, model = Data(), toy(frozen=frozen), toy(frozen=frozen)
    cut = find_cut(model, stack_of(model), data.batch("topic", range(4)))
    store = store_of(model, cut, data)
    expected = training(expected_of, data, lambda *_: prefix_in_eval_mode(expected_of, cut))
    found = training(model, data, lambda task, rows: store.replaying(cut, task, rows))
    assert found.equals(expected)
    plain = training(toy(frozen=frozen), data, lambda *_: torch.enable_grad())
    assert not plain.equals(expected)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_may_be_on_either_side(side: str) -> None:
    row = next(row for row in ARCHITECTURES if row.model_type == "llama")
    data, make = Data(), Data.batch

    def batch(source: str, rows: Any) -> dict[str, torch.Tensor]:
        found = make(data, source, rows)
        return {name: value.flip(1) for name, value in found.items()} if side == "left" else found

    data.batch = batch
    expected_of, model = build(row), build(row)
    frozen_below(expected_of, 0.5)
    inventory, _ = frozen_below(model, 0.5)
    cut = find_cut(model, inventory.stacks, data.batch("topic", range(4)))
    assert cut.per_token == side
    store = store_of(model, cut, data)
    expected = training(expected_of, data, lambda *_: prefix_in_eval_mode(expected_of, cut))
    assert training(model, data, lambda task, rows: store.replaying(cut, task, rows)).equals(expected)


def test_gradient_checkpointing_and_a_replay_go_together() -> None:
    row = next(row for row in ARCHITECTURES if row.model_type == "bert")
    models = []
    for _ in range(2):
        model = build(row)
        inventory, _ = frozen_below(model, 0.5)
        model.backbone.activation_checkpointing_enable({"use_reentrant": False})
        model.backbone.disable_input_require_grads()
        models.append(model)
    data = Data()
    cut = find_cut(models[0], inventory.stacks, data.batch("topic", range(4)))
    store = store_of(models[0], cut, data)
    expected = training(models[1], data, lambda *_: prefix_in_eval_mode(models[1], cut))
    assert training(models[0], data, lambda task, rows: store.replaying(cut, task, rows)).equals(expected)


def test_batches_of_another_width_and_other_mates_agree_to_rounding() -> None:
    data, model = Data(), toy(frozen=2)
    cut = find_cut(model, stack_of(model), data.batch("topic", range(4)))
    store = store_of(model, cut, data)
    model.eval()
    for rows, width in (([0], 3), ([1, 4], 9), ([5, 0, 5], 20)):
        data.width = width
        batch = data.batch("mood", rows)
        with torch.no_grad(), store.replaying(cut, "mood", rows):
            found = model(task="mood", **batch)
        assert torch.allclose(found, model(task="mood", **batch), atol=1e-5)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["embedding", "layers.1", "layers.3"])
@pytest.mark.parametrize("mode", ["record", "replay", "eval"])
def test_instances_are_restored_after_any_error(error: type[BaseException], where: str, mode: str) -> None:
    model = toy(frozen=3)
    cut = find_cut(model, stack_of(model), BATCH)
    stored = record(model, [cut], BATCH)[cut.boundary]
    before = own_attributes(model)

    def fail(*_: Any) -> None:
        raise error

    handle = model.backbone.get_submodule(where).register_forward_pre_hook(fail)
    run = {
        "record": lambda: record(model, [cut], BATCH),
        "replay": lambda: within(replaying(model, cut, lambda inputs: stored), model),
        "eval": lambda: within(prefix_in_eval_mode(model, cut), model),
    }[mode]
    if (mode, where) == ("record", "layers.3"):
        run()
    else:
        with pytest.raises(error):
            run()
    handle.remove()
    assert own_attributes(model) == before
    assert all(module.training for module in model.modules())
    with replaying(model, cut, lambda inputs: stored):
        replayed = model.pool(**BATCH)
    assert not replayed.isnan().any()


def within(mode: Any, model: MultiTaskModel) -> None:
    with mode:
        model(task="topic", **BATCH)


def test_a_replay_within_a_replay_is_refused_and_both_are_undone() -> None:
    model = toy(frozen=2)
    cut = find_cut(model, stack_of(model), BATCH)
    stored = record(model, [cut], BATCH)[cut.boundary]
    before = own_attributes(model)
    with pytest.raises(Refused) as caught, replaying(model, cut, lambda inputs: stored):
        within(replaying(model, cut, lambda inputs: stored), model)
    assert caught.value.reason is Reason.PATCHED
    assert own_attributes(model) == before


def test_recording_several_boundaries_at_once_gives_each_what_it_gives_alone() -> None:
    models = {k: toy(frozen=k) for k in (1, 2, 4)}
    cuts = {k: find_cut(model, stack_of(model), BATCH) for k, model in models.items()}
    whole = toy(frozen=4)
    whole.backbone.requires_grad_(False)
    cuts[0] = find_cut(whole, stack_of(whole), BATCH)
    together = record(models[1], list(cuts.values()), BATCH)
    assert list(together) == ["k=1", "k=2", "k=4", "pooled"]
    alone = [record(models[1], [cut], BATCH)[cut.boundary] for cut in cuts.values()]
    assert same_bits(alone, [together[cut.boundary] for cut in cuts.values()])


def writing_over(self: Backbone, hidden: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Write into the first block's output after it has returned."""
    for place, layer in enumerate(self.layers):
        hidden = layer(hidden, mask)
        hidden = hidden.mul_(0.5) if place == 0 else hidden
    return hidden


def test_what_the_model_does_to_a_recorded_tensor_afterwards_is_not_recorded() -> None:
    model = toy(Bent(writing_over), frozen=1)
    low = find_cut(model, stack_of(model), BATCH)
    alone = record(model, [low], BATCH)["k=1"].clone()
    model.backbone.requires_grad_(False)
    whole = find_cut(model, stack_of(model), BATCH)
    assert torch.equal(record(model, [whole, low], BATCH)["k=1"], alone)


def drawing(self: Backbone, hidden: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Use up a random number before each block, whatever the mode, to no effect."""
    for layer in self.layers:
        torch.rand(())
        hidden = layer(hidden, mask)
    return hidden


@pytest.mark.parametrize("whole", [True, False])
def test_random_numbers_that_the_frozen_part_uses_up_shift_nothing(whole: bool) -> None:
    data, models = Data(), [toy(Bent(drawing), frozen=2) for _ in range(2)]
    for model in models:
        model.backbone.requires_grad_(not whole)
        if not whole:
            freeze_below(model, 2)
    cut = find_cut(models[0], stack_of(models[0]), data.batch("topic", range(4)))
    assert (cut.whole, cut.draws) == (whole, whole)
    before = torch.get_rng_state()
    store = store_of(models[0], cut, data)
    assert torch.equal(torch.get_rng_state(), before)
    expected = training(models[1], data, lambda *_: prefix_in_eval_mode(models[1], cut))
    found = training(models[0], data, lambda task, rows: store.replaying(cut, task, rows))
    assert found.equals(expected)


def test_nothing_above_the_highest_cut_runs_while_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    model = toy(frozen=2)
    cut = find_cut(model, stack_of(model), BATCH)
    ran: list[str] = []
    for name, module in model.named_modules():
        module.register_forward_pre_hook(lambda module, _, name=name: ran.append(name))
    record(model, [cut], BATCH)
    assert not any(name.startswith(("backbone.layers.2", "backbone.norm", "heads")) for name in ran)
    assert "backbone.layers.1" in ran


def test_models_that_catch_every_error_do_not_keep_a_recording_from_leaving() -> None:
    def catching(self: Backbone, hidden: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            try:
                hidden = layer(hidden, mask)
            except Exception:
                hidden = hidden * 0
        return hidden

    model = toy(Bent(catching), frozen=2)
    cut = find_cut(model, stack_of(model), BATCH)
    assert record(model, [cut], BATCH)[cut.boundary].abs().sum() > 0
    assert issubclass(replay_module._Left, BaseException) and not issubclass(replay_module._Left, Exception)
