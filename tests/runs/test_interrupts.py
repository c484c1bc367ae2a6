"""Signals that stop a run wait until what is in hand is saved; a second one does not wait."""

from __future__ import annotations

import signal

import pytest

from freezeplan.runs.interrupts import TOGETHER, StopRequest, StopsCommand, interrupt_after, stop_after

OTHERS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@pytest.fixture(autouse=True)
def as_on_the_command_line():
    before = {number: signal.signal(number, StopsCommand()) for number in OTHERS}
    yield
    for number, action in before.items():
        signal.signal(number, action)


@pytest.mark.parametrize("number", [signal.SIGINT, *OTHERS])
@pytest.mark.parametrize("block", [stop_after, interrupt_after])
def test_the_block_ends_before_the_signal_takes_effect(number, block):
    done = []
    with pytest.raises(KeyboardInterrupt), block():
        signal.raise_signal(number)
        done.append("saved")
    assert done == ["saved"]


def test_what_is_in_hand_sees_that_it_is_to_stop():
    with pytest.raises(KeyboardInterrupt), stop_after() as stop:
        assert not stop.asked
        signal.raise_signal(signal.SIGINT)
        assert stop.asked


def test_a_second_signal_takes_effect_at_once():
    done, seconds = [], iter([0.0, TOGETHER])
    with pytest.raises(KeyboardInterrupt), stop_after() as stop:
        stop.clock = lambda: next(seconds)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(OTHERS[0])
        done.append("saved")
    assert done == []


def test_the_echo_of_a_signal_counts_as_one():
    now = [10.0]
    stop = StopRequest(clock=lambda: now[0])
    answers = []
    for seconds in (10.0, 10.0 + TOGETHER / 2, 10.0 + TOGETHER):
        now[0] = seconds
        answers.append(stop.note(signal.SIGINT))
    assert answers == [False, False, True]


def test_no_second_signal_comes_between_two_files():
    done, seconds = [], iter([0.0, TOGETHER, TOGETHER])
    with pytest.raises(KeyboardInterrupt), stop_after() as stop:
        stop.clock = lambda: next(seconds)
        signal.raise_signal(signal.SIGTERM)
        with interrupt_after():
            signal.raise_signal(signal.SIGTERM)
            done.append("moved")
        done.append("saved")
    assert done == ["moved"]


def test_a_signal_with_an_effect_of_its_own_keeps_it():
    seen = []
    before = signal.signal(OTHERS[0], lambda number, frame: seen.append(number))
    try:
        with stop_after() as stop:
            signal.raise_signal(OTHERS[0])
        assert (seen, stop.asked) == ([OTHERS[0]], False)
    finally:
        signal.signal(OTHERS[0], before)
