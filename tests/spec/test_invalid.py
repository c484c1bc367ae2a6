"""Every invalid spec gives exactly the diagnostics that its first lines promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from freezeplan.diagnostics import DiagnosticError, entries
from freezeplan.spec.reading import load_spec

INVALID = Path(__file__).parents[1] / "specs" / "invalid"
EXPECT = re.compile(
    r"# expect: (?P<code>FP\d{3}) (?P<line>\d+):(?P<column>\d+)(?: (?P<file>\S+))?$", re.MULTILINE
)
HELP = re.compile(r"# help: (?P<text>.+)$", re.MULTILINE)
OURS = re.compile(r"FP(0\d\d|1[0-3]\d)")
# The message, and the place, of an example that begins with the text of a spec.
EXAMPLE = re.compile(
    r"(?P<spec>.+?)\n\nerror\[(?P<code>FP\d{3})\]: (?P<message>[^\n]+)"
    r"(?:\n --> spec\.toml:(?P<line>\d+):(?P<column>\d+))?"
    r"(?:\n  help: (?P<help>[^\n]+))?(?:\n  note: (?P<note>[^\n]+))?\n",
    re.DOTALL,
)

WITHOUT_FILE = {
    "FP001": "a missing file",
    "FP002": "a folder or a file that may not be read",
    "FP003": "a file of more than 1 MiB",
    "FP004": "a file that is no text",
    "FP009": "no file at all",
}
EXAMPLES_ELSEWHERE = {
    "FP007": "its spec is shortened",
    "FP120": "its help needs a file to be there",
    "FP123": "it needs nine files",
}


def expected(path: Path) -> list[tuple[str, str, int, int]]:
    """Read the promises at the top of a file: code, file, line, column."""
    found = EXPECT.finditer(path.read_text("utf-8"))
    return [(m["code"], m["file"] or path.name, int(m["line"]), int(m["column"])) for m in found]


def helps(path: Path) -> list[str]:
    """Read what the advice of a file's diagnostics must say."""
    return [m["text"] for m in HELP.finditer(path.read_text("utf-8"))]


def ours() -> list[Path]:
    """Return the files that this package's reading is to refuse."""
    paths = sorted(INVALID.glob("*.toml"))
    return [path for path in paths if (codes := expected(path)) and OURS.fullmatch(codes[0][0])]


@pytest.mark.parametrize("path", [path for path in ours() if helps(path)], ids=lambda path: path.stem)
def test_it_helps_as_it_promises(path: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        load_spec(path)
    said = " ".join(item.help or "" for item in caught.value.diagnostics)
    assert [text for text in helps(path) if text not in said] == []


@pytest.mark.parametrize("path", ours(), ids=lambda path: path.stem)
def test_it_gives_the_codes_and_places_it_promises(path: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        load_spec(path)
    found = [
        (item.code, Path(item.span.file).relative_to(INVALID).as_posix(), item.span.line, item.span.column)
        for item in caught.value.diagnostics
    ]
    assert found == expected(path)


@pytest.mark.parametrize("path", ours(), ids=lambda path: path.stem)
def test_it_underlines_text_of_its_own_line(path: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        load_spec(path)
    for item in caught.value.diagnostics:
        lines = Path(item.span.file).read_text("utf-8").splitlines()
        assert item.span.text == lines[item.span.line - 1]
        assert item.span.column + item.span.length - 1 <= len(item.span.text) + 1


def test_every_code_has_a_file() -> None:
    codes = {code for code in entries() if OURS.fullmatch(code)}
    shown = {code for path in ours() for code, *_ in expected(path)}
    assert codes - shown == set(WITHOUT_FILE)


def spec_examples() -> list[str]:
    """Return the codes whose example is a spec and the message that it gives."""
    return [code for code, item in entries().items() if OURS.fullmatch(code) and EXAMPLE.match(item.example)]


def test_every_code_of_a_spec_has_such_an_example() -> None:
    codes = {code for code in entries() if OURS.fullmatch(code)}
    assert codes - set(spec_examples()) == set(WITHOUT_FILE)


@pytest.mark.parametrize("code", [code for code in spec_examples() if code not in EXAMPLES_ELSEWHERE])
def test_the_registry_shows_what_is_printed(code: str, tmp_path: Path) -> None:
    example = EXAMPLE.match(entries()[code].example)
    path = tmp_path / "spec.toml"
    path.write_text(example["spec"], "utf-8")
    with pytest.raises(DiagnosticError) as caught:
        load_spec(path)
    item = caught.value.diagnostics[0]
    assert (item.code, item.message) == (example["code"], example["message"])
    assert (item.span.line, item.span.column) == (int(example["line"]), int(example["column"]))
    assert example["help"] in (None, item.help)
    assert example["note"] in (None, *item.notes)
