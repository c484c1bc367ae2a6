"""A plan as a guest in a stock Trainer on two real processes: what moves, what is equal, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.guests.trainer_ranks import CASES
from tests.train.ranked import on_two_ranks

Found = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Run every case once on two processes; returns what each process found, by case."""
    folder = tmp_path_factory.mktemp("ranks")
    done = on_two_ranks("tests.guests.trainer_ranks", folder, *CASES)
    assert done.returncode == 0, done.stderr[-3000:]
    return {
        case: [json.loads((folder / f"{case}.{rank}.json").read_text("utf-8")) for rank in (0, 1)]
        for case in CASES
    }


@pytest.mark.slow
def test_on_two_processes_each_phase_moves_what_it_trains_alike(found: Found) -> None:
    first, second = found["whole"]
    assert first["moved"] == first["planned"]
    assert len(first["planned"]) == 4
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("resumed")])
def test_resumed_on_two_processes_it_ends_with_the_same_bits(case: str, found: Found) -> None:
    for rank in (0, 1):
        assert found[case][rank]["hashes"] == found["whole"][rank]["hashes"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "case, words",
    [
        ("beside", "outside the model that is wrapped: `scale`"),
        ("waiting for all", "train different tensors"),
    ],
)
def test_what_would_drift_apart_or_hang_is_refused(case: str, words: str, found: Found) -> None:
    for rank in found[case]:
        ((code, message),) = rank["refused"]
        assert code == "FP442" and words in message
