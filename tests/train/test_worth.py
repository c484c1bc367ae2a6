"""When a store pays: passes that it saves against the one that it takes, over all phases that share it."""

from __future__ import annotations

import pytest
import torch

from freezeplan.plan.records import Length, Phase
from freezeplan.prefix import Cut
from freezeplan.spec.tables import TrainTable
from freezeplan.train.batches import Course
from freezeplan.train.scheduling import ScheduledPhase
from freezeplan.train.worth import Pass, pass_for, rows_run

LAYERS = ("0", "1", "2", "3")


def cut(k: int) -> Cut:
    """Return the cut below which the first ``k`` layers lie, of four."""
    whole = k == len(LAYERS)
    return Cut(
        "layers", () if whole else LAYERS, 0 if whole else k, whole, (), (2, 3), torch.float32, LAYERS[:k]
    )


def thawed(k: int) -> set[str]:
    """Return what trains above the first ``k`` layers."""
    return {*LAYERS[k:], "heads"}


def found(phase: int, layers: list[int], rows: float = 100.0) -> Pass:
    """Return the pass of a phase; ``layers`` counts the frozen ones of each phase, 0 for none."""
    cuts = {index: cut(k) for index, k in enumerate(layers) if k}
    trained = [thawed(k) for k in layers]
    return pass_for(phase, cuts, trained, dict.fromkeys(cuts, rows), 100, len(LAYERS))


def test_thawing_from_the_top_shares_one_pass_and_every_phase_knows_it() -> None:
    passes = [found(phase, [4, 3, 2]) for phase in range(3)]
    assert passes == [Pass((0, 1, 2), (4 + 3 + 2) / 4)] * 3
    assert passes[0].pays


def test_what_trained_in_between_cannot_be_stored_before() -> None:
    layers = [4, 2, 4, 0, 3]
    assert [found(phase, layers).phases for phase in (0, 1, 2, 4)] == [(0, 1), (0, 1), (2,), (4,)]


@pytest.mark.parametrize(("rows", "pays"), [(100.0, False), (149.0, False), (150.0, True)])
def test_one_phase_pays_from_one_and_a_half_passes_on(rows: float, pays: bool) -> None:
    assert found(0, [2], rows).pays is pays


def scheduled(sizes: dict[str, int], steps: int, **train: object) -> ScheduledPhase:
    """Return a phase over tasks with so many rows."""
    course = Course(sizes, TrainTable.model_validate({"batch_size": 10, **train}))
    phase = Phase("p", (), (), (), None, 0, 0, 0, 0, Length("steps", steps))
    return ScheduledPhase(0, phase, course, steps, 0, lambda step: 1.0, frozenset())


def test_rows_of_training_and_evaluation_are_counted() -> None:
    assert rows_run(scheduled({"a": 95}, 20), 7) == pytest.approx(2 * 95 + 2 * 7)
    assert rows_run(scheduled({"a": 95, "b": 10}, 20), 0) == pytest.approx(95 + 10 * 10)
    assert rows_run(scheduled({"a": 100}, 5), 7) == pytest.approx(50 + 7)
