"""One case of the benchmark: the predicted peak against the high-water mark of a real process."""

from __future__ import annotations

import sys

import pytest

from benchmarks.predicted_peak import FAITHFUL, Case, measure_apart, predict


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux", reason="the kernel's high-water mark can be set back on Linux only"
)
@pytest.mark.parametrize("frozen", ["nothing", "half"])
def test_a_real_process_needs_what_was_predicted(frozen: str) -> None:
    case = Case("Qwen3-tiny", frozen, 8)
    _, predicted = predict(case)
    # Without the weights, which are known and would make it easy.
    assert predicted == pytest.approx(measure_apart(case, FAITHFUL)[0], rel=0.1)
