from __future__ import annotations

import contextlib
import gc
import json
import signal

import pytest

from freezeplan.cli import program
from freezeplan.cli.interrupts import noting_interrupts
from freezeplan.cli.pulsing import pulsing
from freezeplan.cli.starting import begun, quick_start
from freezeplan.cli.status import status_of
from freezeplan.cli.streams import Settings
from freezeplan.diagnostics import diagnostic
from freezeplan.train.pulse import EVERY
from tests.cli.rooms import GOOD


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["show", "good.toml"], 0),
        (["show", "good.toml", "--format", "json"], 0),
        (["show", "good.toml", "--params"], 0),
        (["check", "bad.toml"], 1),
        (["explain"], 0),
        (["schema"], 0),
    ],
)
def test_a_reader_that_goes_away_is_no_error(room, arguments, status):
    done = room.with_closed_output(*arguments)
    assert done.status == status
    assert "Broken" not in done.err and "Traceback" not in done.err and "Exception" not in done.err


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_other_encodings_do_not_fail(room, encoding):
    room.write("wide.toml", GOOD.replace('"upper"', '"größe 中"'))
    done = room.start("show", "wide.toml", PYTHONUTF8="0", PYTHONIOENCODING=encoding)
    assert done.status == 0
    shown = done.stdout.decode(encoding)
    assert "\\u4e2d" in shown and "─" not in shown and ("größe" in shown) == (encoding == "cp1252")


def test_json_is_utf_8_in_every_encoding(room):
    room.write("wide.toml", GOOD.replace('"upper"', '"größe 中"'))
    done = room.start("show", "wide.toml", "--format", "json", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert "größe 中" in [group["rule"] for group in json.loads(done.out)["groups"]]


def test_escape_sequences_of_a_spec_do_not_reach_the_terminal(room):
    room.write("evil.toml", GOOD.replace('"classifier"', '"clas\\u001b31msifier\\u0007"'))
    done = room.start("show", "evil.toml")
    assert done.status == 1 and "clas\ufffd31msifier\ufffd" in done.err
    assert b"\x1b" not in done.stderr and b"\x07" not in done.stderr


def test_an_internal_error_is_one_message_and_status_2(monkeypatch, capsys):
    monkeypatch.setattr(program, "program", Failing(RuntimeError("boom [red]x[/red]")))
    monkeypatch.delenv("FREEZEPLAN_DEBUG", raising=False)
    assert program.run([]) == 2
    error = capsys.readouterr().err
    assert error.startswith("internal error: RuntimeError: boom [red]x[/red]\n")
    assert "Traceback" not in error and "FREEZEPLAN_DEBUG=1" in error


def test_the_traceback_is_shown_on_demand(monkeypatch, capsys):
    monkeypatch.setattr(program, "program", Failing(RuntimeError("boom")))
    monkeypatch.setenv("FREEZEPLAN_DEBUG", "1")
    assert program.run([]) == 2
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_ctrl_c_is_status_130(monkeypatch, capsys):
    monkeypatch.setattr(program, "program", Failing(KeyboardInterrupt()))
    assert program.run([]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_ctrl_c_that_a_library_keeps_for_itself_is_still_one(monkeypatch, capsys):
    class Swallowing:
        def main(self, *arguments: object, **options: object) -> None:
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                raise ImportError("a library's own words") from None

    monkeypatch.setattr(program, "program", Swallowing())
    before = signal.getsignal(signal.SIGINT)
    assert program.run([]) == 130
    assert capsys.readouterr().err == "stopped by Ctrl-C\n"
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_polite_end_is_one_line_and_the_shells_status(monkeypatch, capsys, name, status):
    class Working:
        def main(self, *arguments, **options):
            signal.raise_signal(getattr(signal, name))

    monkeypatch.setattr(program, "program", Working())
    assert program.run([]) == status
    assert capsys.readouterr().err == f"stopped by {name}\n"


def test_a_ctrl_c_that_nothing_raised_stops_the_command_at_its_next_step():
    settings = Settings()
    settings.raise_if_interrupted()
    with noting_interrupts(settings), contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        settings.raise_if_interrupted()


def test_a_process_that_ignores_ctrl_c_keeps_ignoring_it():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with noting_interrupts(Settings()):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("arguments", [["explain"], ["schema"], ["--help"], ["show", "-h"]])
def test_a_full_disk_is_one_message_and_status_2(room, arguments):
    done = room.in_shell('"$@" > /dev/full', *arguments)
    assert done.status == 2
    assert done.err == "Error: cannot write to standard output: no space left on device\n"


@pytest.mark.parametrize(("stream", "out"), [(">&-", ""), ("<&-", "FP201")])
def test_closed_streams_are_no_error(room, stream, out):
    done = room.in_shell(f'"$@" {stream}', "explain", "FP201")
    assert (done.status, done.err) == (0, "")
    assert out in done.out


def test_predict_says_how_far_it_is_where_nobody_sees_its_answers(capsys):
    with pulsing(Settings()) as pulse:
        pulse.now, began = "3 inputs labelled", pulse._last
        pulse._clock = lambda: began + EVERY
        pulse.beat()
    assert capsys.readouterr().err == "3 inputs labelled\n"


def test_garbage_is_collected_again_when_the_work_begins():
    with quick_start():
        assert not gc.isenabled()
        begun()
        frozen = gc.get_freeze_count()
        assert gc.isenabled() and frozen > 0
        later = [[] for _ in range(10_000)]
        begun()
        # Frozen objects may go, as their last owner does; none joins them.
        assert gc.get_freeze_count() < frozen + len(later)
        gc.unfreeze()
    with quick_start():
        pass
    assert gc.isenabled()


def test_texts_from_a_closed_standard_input_are_none(room):
    done = room.in_shell('"$@" <&-', "predict", "nowhere")
    assert done.status == 2
    assert "FP520" in done.err and "internal error" not in done.err


def test_the_status_weighs_diagnostics():
    error, warning = diagnostic("FP201", "m"), diagnostic("FP404", "m")
    missing, note = diagnostic("FP001", "m"), diagnostic("FP212", "m")
    assert [status_of(items) for items in ([], [note], [warning], [warning, error])] == [0, 0, 0, 1]
    assert [status_of(items, strict=True) for items in ([note], [warning], [error])] == [0, 1, 1]
    assert status_of([error, missing]) == 2


class Failing:
    """A command line that ends by an exception."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def main(self, *arguments: object, **options: object) -> None:
        raise self.error
