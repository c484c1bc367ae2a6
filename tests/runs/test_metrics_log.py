"""The metrics log is appended to, and goes on where a run goes on, whatever a killed process left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezeplan.runs.metrics_log import MetricsLog


def add(log: MetricsLog, *steps: int) -> None:
    for step in steps:
        log.add_steps(1, step, {"topic": step / 7}, {"heads": 1e-3})


def test_records_are_appended_and_let_go_of(tmp_path: Path) -> None:
    log, path = MetricsLog(), tmp_path / "metrics.jsonl"
    add(log, 1, 2)
    log.append(path)
    first = path.read_bytes()
    assert (log.records, log.length) == ([], len(first))
    number = path.stat().st_ino
    add(log, 3)
    log.append(path)
    assert path.read_bytes().startswith(first) and path.read_bytes().count(b"\n") == 3
    assert path.stat().st_ino == number


@given(st.integers(0, 900), st.integers(0, 4))
def test_a_log_goes_on_from_any_point_to_the_same_bytes(tail: int, stop: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        whole, half = Path(folder, "whole"), Path(folder, "half")
        straight, log = MetricsLog(), MetricsLog()
        add(straight, *range(5))
        straight.append(whole)
        add(log, *range(stop))
        log.append(half)
        standing = log.standing
        half.write_bytes(half.read_bytes() + b"x" * tail)
        again = MetricsLog()
        again.go_on(half, standing)
        add(again, *range(stop, 5))
        again.append(half)
        assert half.read_bytes()[: again.length] == whole.read_bytes()
        assert again.standing == straight.standing
        if stop < 5:
            assert half.read_bytes() == whole.read_bytes()


def test_another_beginning_is_refused(tmp_path: Path) -> None:
    log, path = MetricsLog(), tmp_path / "metrics.jsonl"
    add(log, 1)
    log.append(path)
    path.write_bytes(path.read_bytes().replace(b'"step": 1', b'"step": 2'))
    with pytest.raises(ValueError, match="not what was written"):
        MetricsLog().go_on(path, log.standing)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="not what was written"):
        MetricsLog().go_on(path, log.standing)
