"""Accelerate keeps one state for a process: a run is not computed by the settings of what was there before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from freezeplan.diagnostics import DiagnosticError
from freezeplan.train.launching import start_accelerator


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Take accelerate's state away before and after."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_another_precision_in_the_same_process_is_a_diagnostic() -> None:
    Accelerator(mixed_precision="bf16", cpu=True)
    with pytest.raises(DiagnosticError) as caught:
        start_accelerator()
    (found,) = caught.value.diagnostics
    assert found.code == "FP560"
    assert "mixed_precision='no'" in found.message


def test_the_same_precision_is_taken() -> None:
    Accelerator(mixed_precision="no")
    assert start_accelerator().mixed_precision == "no"
