"""Entries are stored once per distinct input, packed, shared by phases, and used only with their own weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from freezeplan.models.multitask import MultiTaskModel
from freezeplan.prefix import Cut, Reason, Refused, StoreSettings
from freezeplan.prefix.entries import Entries, Layout
from freezeplan.prefix.examples import Examples
from freezeplan.prefix.keys import differences, store_key
from freezeplan.prefix.proof import check_stored
from tests.prefix.architectures import ARCHITECTURES, IMAGE
from tests.prefix.running import LENGTHS, Data, outcome
from tests.prefix.stores import TINY, TOKENS, cut_of, encoded, made, phases, refused, replayed, uncached
from tests.prefix.toys import HIDDEN, freeze_below, toy


def test_only_real_tokens_are_stored_and_tasks_with_the_same_texts_share_them() -> None:
    _, _, cut, store = made()
    assert store.prepare([cut]).built == ("k=2",)
    assert store.nbytes == (TOKENS + 1) * HIDDEN * 4
    assert (store.examples.entries["topic"] == store.examples.entries["mood"]).all()


def test_each_distinct_input_runs_once() -> None:
    model, data, cut, store = made()
    rows: list[int] = []
    store.make_batch = lambda source, chosen: rows.extend(chosen) or data.batch(source, chosen)
    store.prepare([cut], batch_size=5)
    assert sorted(rows[: len(LENGTHS)]) == list(range(len(LENGTHS)))
    assert len(rows) < 2 * len(LENGTHS)


texts = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3), min_size=1, max_size=8)


@given(st.lists(texts, min_size=1, max_size=3))
def test_two_rows_have_one_entry_exactly_when_they_are_equal(sets: list[list[list[int]]]) -> None:
    sources = {str(place): encoded(rows) for place, rows in enumerate(sets)}
    examples = Examples(sources)
    flat = [
        (tuple(row), examples.entries[str(p)][q]) for p, rows in enumerate(sets) for q, row in enumerate(rows)
    ]
    assert len(dict(flat)) == len({entry for _, entry in flat}) == len(set(flat)) == len(examples)
    computed = [(source, row) for source, rows in examples.batches(2) for row in rows]
    assert [examples.entries[source][row] for source, row in computed] == list(range(len(examples)))
    assert examples.lengths == tuple(int(sources[source].lengths[row]) for source, row in computed)
    for source, rows in examples.spans:
        assert rows.tolist() == sorted(sorted(rows.tolist()), key=lambda row: -sources[source].lengths[row])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=6),
    st.integers(0, 3),
    st.sampled_from(["left", "right"]),
    st.data(),
)
def test_what_is_packed_comes_out_padded_for_any_mates_width_and_side(
    lengths: list[int], extra: int, side: str, draw: st.DataObject
) -> None:
    layout = Layout((2,), torch.float32, len(lengths), side, tuple(lengths))
    values = torch.randn(sum(lengths), 2)
    entries = Entries(layout, torch.cat([values, torch.zeros(1, 2)]))
    rows = draw.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=5))
    width = max(lengths[row] for row in rows) + extra
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for place, row in enumerate(rows):
        mask[place, width - lengths[row] :] = 1
    mask = mask if side == "left" else mask.flip(1)
    found = entries.batch(rows, {"attention_mask": mask}, torch.device("cpu"), torch.float32)
    starts = layout.starts.tolist()
    for place, row in enumerate(rows):
        expected = values[starts[row] : starts[row] + lengths[row]]
        assert torch.equal(found[place][mask[place].bool()], expected)
    assert found[~mask.bool()].eq(0).all()
    if rows == list(range(len(rows))):
        assert torch.equal(
            layout.packed(found, {"attention_mask": mask}, 0), values[: sum(lengths[: len(rows)])]
        )


def test_a_batch_whose_tokens_are_not_those_that_were_stored_is_refused() -> None:
    _, data, cut, store = made()
    store.prepare([cut])
    data.changed[5] = data.ids[5][:-1]
    found = refused(lambda: replayed(store, cut, data))
    assert found.reason is Reason.DATA_CHANGED


def test_data_that_change_while_the_store_is_built_are_refused() -> None:
    model, data, cut, store = made()
    data.changed[3] = [*data.ids[3], 1]
    assert refused(lambda: store.prepare([cut])).reason is Reason.DATA_CHANGED
    assert store.held == {}


def test_a_batch_of_other_rows_is_refused() -> None:
    model, data, cut, store = made()
    store.prepare([cut])
    with pytest.raises(Refused) as caught, store.replaying(cut, "topic", [0, 1]):
        model(task="topic", **data.batch("topic", [0]))
    assert caught.value.reason is Reason.DATA_CHANGED


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_shorter_number_format_halves_the_bytes_and_stays_close(dtype: torch.dtype) -> None:
    model, data, cut, store = made(StoreSettings(dtype=dtype))
    store.prepare([cut])
    assert store.nbytes == (TOKENS + 1) * HIDDEN * 2
    found, expected = replayed(store, cut, data), uncached(model, data)
    assert torch.allclose(found, expected, atol=5e-2) and not torch.equal(found, expected)


def test_numbers_that_overflow_the_format_are_refused() -> None:
    model, data, cut, store = made(StoreSettings(dtype=torch.float16))
    model.backbone.embedding.weight.data.mul_(1e6)
    assert refused(lambda: store.prepare([cut])).reason is Reason.NOT_FINITE


def test_what_is_computed_in_half_precision_may_round_as_much() -> None:
    model, data, cut, store = made()
    store.prepare([cut])
    entries = store.held["k=2"].entries
    places = store.examples.entries["topic"][[0, 5, 2]].tolist()

    def rounded(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return entries.batch(places, inputs, torch.device("cpu"), cut.dtype) * 1.01

    batch = data.batch("topic", [0, 5, 2])
    assert refused(lambda: check_stored(model, cut, batch, rounded, torch.float32)).reason == Reason.PADDING
    model.precision = "bf16"
    check_stored(model, cut, batch, rounded, torch.float32)


def test_images_are_stored_whole() -> None:
    row = next(row for row in ARCHITECTURES if row.model_type == "vit")
    assert len(Data(IMAGE).encoded) == len(LENGTHS)
    found = outcome(row, 0.5)
    assert found.equal and found.cut.per_token is None


def test_building_leaves_the_random_state_and_the_modes_alone() -> None:
    model, _, cut, store = made()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    store.prepare([cut])
    assert torch.equal(torch.get_rng_state(), before)
    assert all(module.training for module in model.modules())


def test_the_progress_of_a_build_counts_inputs() -> None:
    _, _, cut, store = made()
    seen: list[tuple[int, int]] = []
    store.prepare([cut], batch_size=5, progress=lambda *count: seen.append(count))
    assert seen == [(5, 12), (10, 12), (12, 12)]


def test_one_pass_stores_the_boundaries_of_all_phases() -> None:
    model, data, _, store = made(frozen=4)
    cuts = phases(model, data, 4, 2, 1)
    assert store.prepare(cuts).built == ("k=4", "k=2", "k=1")
    for cut in cuts:
        assert torch.allclose(replayed(store, cut, data), uncached(model, data), atol=1e-6)
    freeze_below(model, 2)
    with torch.no_grad():
        model.backbone.layers[3].linear.weight.mul_(2.0)
    again = store.prepare(phases(model, data, 2, 1))
    assert (again.built, again.found, list(store.held)) == ((), ("k=2", "k=1"), ["k=2", "k=1"])
    assert torch.allclose(replayed(store, cuts[1], data), uncached(model, data), atol=1e-6)


def test_later_boundaries_wait_when_the_budget_is_too_small_for_them() -> None:
    one = (TOKENS + 1) * HIDDEN * 4
    model, data, _, store = made(StoreSettings(budget=2 * one), frozen=4)
    found = store.prepare(phases(model, data, 4, 2, 1))
    assert (found.built, found.left) == (("k=4", "k=2"), ("k=1",))


def test_weights_that_changed_below_the_cut_are_noticed() -> None:
    model, data, cut, store = made()
    store.prepare([cut])
    stale = replayed(store, cut, data)
    with torch.no_grad():
        model.backbone.layers[1].linear.weight.add_(0.5)
    assert store.prepare([cut]).built == ("k=2",)
    found = replayed(store, cut, data)
    assert torch.allclose(found, uncached(model, data), atol=1e-6) and not torch.allclose(found, stale)


def test_dropping_a_boundary_frees_its_entries(tmp_path: Path) -> None:
    _, _, cut, store = made(StoreSettings(budget=TINY, folder=tmp_path))
    store.prepare([cut])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k2.bin", "k2.json"]
    store.drop("k=2")
    assert list(tmp_path.iterdir()) == [] and store.nbytes == 0


def test_every_part_of_a_key_counts() -> None:
    model, data, cut, store = made()

    def key(
        model: MultiTaskModel = model, cut: Cut = cut, dtype: torch.dtype = torch.float32, inputs: str = "a"
    ):
        return store_key(model, cut, inputs, dtype, {})

    before = key()
    assert differences(key(), before) == ()
    assert differences(key(dtype=torch.float16), before) == ("format",)
    assert differences(key(inputs="b"), before) == ("inputs",)
    other = toy(frozen=1)
    assert differences(key(cut=cut_of(other, data)), before) == ("boundary", "weights")
    with torch.no_grad():
        model.backbone.layers[2].linear.weight.add_(1.0)
    assert key() == before
    with torch.no_grad():
        model.backbone.layers[1].linear.bias[0] = torch.nextafter(
            model.backbone.layers[1].linear.bias[0], torch.tensor(9.0)
        )
    assert differences(key(), before) == ("weights",)
    assert differences(store_key(toy(frozen=2, seed=1), cut, "a", torch.float32, {}), before) == ("weights",)


def test_buffers_below_the_cut_are_part_of_the_key() -> None:
    model, data, _, _ = made()
    model.backbone.layers[0].register_buffer("shift", torch.zeros(1))
    cut = cut_of(model, data)
    before = store_key(model, cut, "a", torch.float32, {})
    model.backbone.layers[0].shift += 1
    assert differences(store_key(model, cut, "a", torch.float32, {}), before) == ("weights",)
