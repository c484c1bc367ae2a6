"""When a store pays: passes that it saves against the one that it takes, over all phases that share it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezeplan.plan.records import FrozenPrefix
from freezeplan.plan.stepping import StepCount
from freezeplan.plan.storing import Pass, StoreUse, pass_for
from freezeplan.spec.tables import TrainTable

LAYERS = 4


def prefix(k: int) -> FrozenPrefix | None:
    """Return the prefix of the first ``k`` of four layers, all of them with the whole backbone; 0 is none."""
    return FrozenPrefix("layers", k, LAYERS, whole_backbone=k == LAYERS) if k else None


def found(phase: int, layers: list[int], rows: float = 100.0) -> Pass:
    """Return the pass of a phase; ``layers`` counts the frozen ones of each phase, -1 where nothing trains."""
    uses = [StoreUse(prefix(max(k, 0)), rows if k >= 0 else 0) for k in layers]
    return pass_for(phase, uses, 100)


def test_thawing_from_the_top_shares_one_pass_and_every_phase_knows_it() -> None:
    passes = [found(phase, [4, 3, 2]) for phase in range(3)]
    assert passes == [Pass((0, 1, 2), (4 + 3 + 2) / 4)] * 3
    assert passes[0].pays


def test_what_trained_in_between_cannot_be_stored_before() -> None:
    layers = [4, 2, 4, 0, 3]
    assert [found(phase, layers).phases for phase in (0, 1, 2, 4)] == [(0, 1), (0, 1), (2,), (4,)]


def test_a_phase_in_which_nothing_trains_neither_runs_rows_nor_parts_others() -> None:
    assert [found(phase, [3, -1, 3]) for phase in (0, 2)] == [Pass((0, 2), 2.0)] * 2


@pytest.mark.parametrize(("rows", "pays"), [(100.0, False), (149.0, False), (150.0, True)])
def test_one_phase_pays_from_one_and_a_half_passes_on(rows: float, pays: bool) -> None:
    assert found(0, [2], rows).pays is pays


@given(st.lists(st.integers(0, LAYERS), min_size=1, max_size=6), st.data())
def test_phases_that_share_a_pass_agree_on_it(layers: list[int], data: st.DataObject) -> None:
    stored = [phase for phase, k in enumerate(layers) if k]
    if stored:
        phase = data.draw(st.sampled_from(stored))
        shared = found(phase, layers)
        assert phase in shared.phases
        assert {found(other, layers) for other in shared.phases} == {shared}


@given(st.integers(0, LAYERS), st.integers(0, LAYERS), st.integers(0, LAYERS))
def test_containing_is_an_order_and_a_whole_backbone_contains_all(a: int, b: int, c: int) -> None:
    one, two, three = (prefix(k) or FrozenPrefix("layers", 0, LAYERS) for k in (a, b, c))
    assert one.contains(one) and prefix(LAYERS).contains(one)
    assert one.contains(two) or two.contains(one)
    if one.contains(two) and two.contains(three):
        assert one.contains(three) and one.depth >= three.depth


@pytest.mark.parametrize(
    ("sizes", "steps", "rows"),
    [({"a": 95}, 20, 2 * 95), ({"a": 95, "b": 10}, 20, 95 + 100), ({"a": 100}, 5, 50)],
)
def test_rows_of_a_phases_steps_are_counted(sizes: dict[str, int], steps: int, rows: float) -> None:
    count = StepCount(sizes, TrainTable.model_validate({"batch_size": 10}))
    assert count.rows(steps) == pytest.approx(rows)
