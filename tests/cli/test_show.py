from __future__ import annotations

import json
import os
import re

import click
import pytest
from rich.cells import cell_len

from freezeplan.cli.writing import check_target, write_whole
from tests.cli.rooms import GOOD, SHAPES

NAMES = ("everything", "upper", "top of all", "@layers[-2:]", "classifier")


def test_piped_output_is_the_whole_table_without_colour(room):
    done = room.run("show", "good.toml")
    assert (done.status, done.err) == (0, "")
    assert "\x1b" not in done.out and "…" not in done.out
    assert all(name in done.out for name in NAMES)
    assert re.search(r"^upper +@layers\[-2:\] +trainable +1e-05 +0.01 / 0 +6 +160$", done.out, re.M)
    assert re.search(r"^coverage +12 of 12 tensors accounted for \(100 %\)$", done.out, re.M)
    assert not any(line.endswith(" ") for line in done.out.splitlines())


def test_piped_lines_are_not_folded_however_long_the_names(room):
    name = "a rule with quite a long name " * 5
    room.write("long.toml", GOOD.replace('"upper"', f'"{name.strip()}"'))
    done = room.run("show", "long.toml")
    assert len([line for line in done.out.splitlines() if line.startswith(name.strip())]) == 1


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_on_a_terminal_every_line_fits_and_every_name_is_whole(room, columns):
    done = room.on_terminal("show", "good.toml", columns=columns, NO_COLOR="1")
    assert done.status == 0
    assert max(map(cell_len, done.out.splitlines())) <= columns
    assert all(name in done.out for name in NAMES)


def test_a_terminal_gets_colour_unless_asked_otherwise(room):
    assert "\x1b[" in room.on_terminal("show", "good.toml", columns=100).out
    assert "\x1b" not in room.on_terminal("show", "good.toml", columns=100, NO_COLOR="1").out
    assert "\x1b" not in room.on_terminal("show", "good.toml", "--no-color", columns=100).out
    assert "\x1b" not in room.on_terminal("--no-color", "show", "good.toml", columns=100).out


def test_without_a_spec_it_is_freezeplan_toml(room):
    room.write("freezeplan.toml", GOOD)
    assert room.run("show").stdout == room.run("show", "good.toml").stdout


def test_params_has_a_line_for_every_parameter(room):
    done = room.run("show", "good.toml", "--params")
    lines = done.out.splitlines()[1:]
    assert {line.split()[0] for line in lines} == set(SHAPES) and len(lines) == len(SHAPES)
    assert re.search(r"^classifier.weight +2 x 8 +trainable +3e-04 +0.01 +top of all$", done.out, re.M)


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_groups_shows_every_group_at_any_width(room, columns):
    done = room.on_terminal("show", "good.toml", "--groups", columns=columns, NO_COLOR="1")
    assert all(name in done.out for name in (*NAMES, "upper/no_decay"))
    assert max(map(cell_len, done.out.splitlines())) <= columns
    piped = room.run("show", "good.toml", "--groups").out
    assert re.search(r"^upper/no_decay +@layers\[-2:\] +trainable +1e-05 +0 +4 +32$", piped, re.M)


@pytest.mark.parametrize("option", [["--groups"], ["--params"], ["--phase", "1"]])
def test_forms_of_the_table_do_not_go_with_json(room, option):
    done = room.run("show", "good.toml", "--format", "json", *option)
    assert done.status == 2 and f"{option[0]} is a form of the table" in done.err and done.out == ""


def test_two_forms_of_the_table_exclude_each_other(room):
    done = room.run("show", "good.toml", "--groups", "--params")
    assert done.status == 2 and "choose one" in done.err


def test_json_is_the_plan_s_record_and_out_writes_the_same_bytes(room):
    from freezeplan.models.sources import inventory_for
    from freezeplan.plan import compile_plan
    from freezeplan.plan.document import to_record
    from freezeplan.spec.reading import load_spec

    done = room.run("show", "good.toml", "--format", "json", "--out", "plan.json")
    spec = load_spec(room.path / "good.toml")
    record = json.loads(json.dumps(to_record(compile_plan(inventory_for(spec), spec))))
    assert json.loads(done.out) == {**record, "tasks": [], "training": None}
    assert (room.path / "plan.json").read_bytes() == done.stdout
    assert {path.name for path in room.path.iterdir()} == {
        *("model.safetensors", "good.toml", "bad.toml", "frozen.toml", "plan.json")
    }


def test_out_into_a_folder_that_is_not_there_is_an_error_and_writes_nothing(room):
    done = room.run("show", "good.toml", "--out", "no/plan.json")
    assert done.status == 2 and "cannot write no/plan.json" in done.err and "Traceback" not in done.err
    assert not (room.path / "no").exists()


def test_out_writes_through_links_and_leaves_pipes_what_they_are(tmp_path):
    (tmp_path / "plan.json").write_text("old")
    (tmp_path / "link").symlink_to("plan.json")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "plan.json").read_text() == "new\n"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_whole(tmp_path / "pipe", "new")
    assert os.read(reader, 100) == b"new\n" and (tmp_path / "pipe").is_fifo()
    os.close(reader)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe", "plan.json"]


def test_out_into_a_folder_is_an_error(tmp_path):
    with pytest.raises(click.BadParameter, match="is a directory"):
        write_whole(tmp_path, "new")


def test_files_of_a_run_and_the_spec_itself_are_not_replaced(tmp_path):
    (tmp_path / "run.json").write_text('{"files": {"plan.json": "0"}}')
    for name in ("plan.json", "mine.json", "spec.toml"):
        (tmp_path / name).write_text("old")
    for name in ("run.json", "plan.json"):
        with pytest.raises(click.BadParameter, match="belongs to the run"):
            write_whole(tmp_path / name, "new")
    write_whole(tmp_path / "mine.json", "new")
    with pytest.raises(click.BadParameter, match="it is the spec itself"):
        check_target(tmp_path / "spec.toml", spec=tmp_path / "spec.toml")
    assert [(tmp_path / name).read_text() for name in ("plan.json", "mine.json")] == ["old", "new\n"]


def test_commands_that_take_long_look_at_their_files_first(room):
    for arguments in (("probe", "good.toml", "--out"), ("compare", "good.toml", "--write")):
        done = room.run(*arguments, "no/file")
        assert done.status == 2 and "cannot write no/file" in done.err
        assert "it is the spec itself" in room.run(*arguments, "good.toml").err


def test_a_budget_is_one_time_and_one_amount_at_most(room):
    given = ("--budget", "1s", "--budget", "2GiB", "--budget")
    for second in ("2min", "1 MB"):
        done = room.run("compare", "good.toml", *given, second)
        assert done.status == 2 and "one time and one amount" in done.err


def test_what_was_assumed_about_the_model_is_said_below_the_summary(room):
    done = room.run("show", "good.toml")
    assert done.out.splitlines()[-1].startswith("note: only the names in a file are known")


def test_out_leaves_an_existing_file_alone_when_the_spec_is_bad(room):
    room.write("plan.json", "old")
    assert room.run("show", "bad.toml", "--out", "plan.json").status == 1
    assert (room.path / "plan.json").read_text() == "old"


def test_errors_go_to_standard_error_with_a_caret_and_leave_standard_output_empty(room):
    done = room.run("show", "bad.toml")
    assert (done.status, done.stdout) == (1, b"")
    lines = done.err.splitlines()
    assert lines[0].startswith("error[FP201]: ") and lines[1].endswith("bad.toml:17:10")
    assert lines[3] == '17 | match = "clasifier"' and lines[4] == "   |          ^^^^^^^^^"
    assert "`classifier`" in done.err and lines[-1] == "1 error"


def test_advice_goes_to_standard_error_and_does_not_fail(room):
    done = room.run("show", "frozen.toml")
    assert done.status == 0 and "warning[" not in done.out
    assert done.err.startswith("warning[FP404]: ") and done.err.endswith("\n1 warning\n")


def test_diagnostics_as_json(room):
    done = room.run("show", "bad.toml", "--diagnostics", "json")
    record = json.loads(done.err)
    assert (done.status, record["errors"], record["warnings"]) == (1, 1, 0)
    span = record["diagnostics"][0]["span"]
    assert (span["line"], span["column"], span["length"]) == (17, 10, 9)
    assert room.run("--diagnostics", "json", "show", "bad.toml").stderr == done.stderr


def test_params_and_json_exclude_each_other(room):
    done = room.run("show", "good.toml", "--params", "--format", "json")
    assert done.status == 2 and "--params" in done.err
