"""What the README's table says of the commands is what their help says; pages name no option that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from freezeplan.cli.program import program

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `freezeplan (?P<usage>[^`]*)` \| (?P<text>.*) \|$", re.MULTILINE)
OPTION = re.compile(r"--[a-z][a-z-]*")
COMMANDS: dict[str, click.Command] = dict(program.commands)


def rows() -> list[tuple[str, str]]:
    """Return the usage and the text of each row of the README's table of commands."""
    return ROW.findall((ROOT / "README.md").read_text("utf-8"))


def options_of(command: click.Command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts if option.startswith("--")}


def arguments_of(command: click.Command) -> list[str]:
    """Return the arguments as the help writes them: ``SPEC``, ``TEXT``."""
    arguments = [item for item in command.params if isinstance(item, click.Argument)]
    written = " ".join(item.metavar or str(item.name).upper() for item in arguments)
    return [word.strip("[].") for word in written.split()]


def test_the_table_has_every_command_and_no_other() -> None:
    assert {usage.split()[0] for usage, _ in rows()} == set(COMMANDS)


@pytest.mark.parametrize(("usage", "text"), rows())
def test_a_row_names_arguments_and_options_that_the_command_has(usage: str, text: str) -> None:
    name, *words = usage.split()
    command = COMMANDS[name]
    assert set(OPTION.findall(f"{usage} {text}")) <= options_of(command) | {"--help"}
    values = {item.metavar for item in command.params if isinstance(item, click.Option)} | {"DIR", "NAME"}
    assert all(
        word.strip("[].") in (*arguments_of(command), *values) for word in words if not word.startswith("--")
    )


def test_every_option_that_takes_no_common_form_is_in_the_table_or_on_a_page() -> None:
    pages = "\n".join(path.read_text("utf-8") for path in (ROOT / "README.md", *ROOT.glob("docs/*.md")))
    named = set(OPTION.findall(pages))
    known = {option for command in COMMANDS.values() for option in options_of(command)}
    common = {"--no-color", "--diagnostics"}
    assert known - common <= named


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))], ids=lambda page: page.stem
)
def test_a_command_on_a_page_has_the_options_that_it_is_given(page: Path) -> None:
    for name, rest in re.findall(r"freezeplan (\w+)((?: [^\s`]+)*)", page.read_text("utf-8")):
        if name in COMMANDS:
            assert set(OPTION.findall(rest)) <= options_of(COMMANDS[name]) | {"--help"}, (
                page.name,
                name,
                rest,
            )
