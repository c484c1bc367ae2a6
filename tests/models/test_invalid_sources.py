"""Every invalid spec about a model gives exactly the diagnostics that its first lines promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from huggingface_hub import constants

from freezeplan.diagnostics import DiagnosticError, entries
from freezeplan.models.loading import load_model, load_tokenizer
from freezeplan.models.sources import inventory_for
from freezeplan.spec.reading import load_spec

INVALID = Path(__file__).parents[1] / "specs" / "invalid"
EXPECT = re.compile(r"# expect: (FP\d{3}) (\d+):(\d+)$", re.MULTILINE)
OURS = re.compile(r"FP1([567]\d|83)|FP472")
# What compiling a spec cannot see is found when its weights or its tokenizer are loaded.
CALLS = {"FP168": load_model, "FP169": load_model, "FP171": load_tokenizer}
# A live model in the wrong state, a file that no repository can hold, a switch of the command line.
WITHOUT_SPEC = {"FP166", "FP167", "FP174", "FP176", "FP177", "FP178", "FP179"}
EXAMPLE = re.compile(r"(?P<spec>.+?)\n\nerror\[(?P<code>FP\d{3})\]: (?P<message>[^\n]+)", re.DOTALL)
# Examples that stand on files which only the invalid specs here have.
ON_FILES = {
    "FP151",
    "FP152",
    "FP158",
    "FP160",
    "FP162",
    "FP163",
    "FP164",
    "FP165",
    "FP168",
    "FP169",
    "FP176",
    "FP177",
    "FP178",
    "FP179",
}


def ours() -> list[Path]:
    """Return the invalid specs whose codes are about the model."""
    paths = sorted(INVALID.glob("*.toml"))
    return [path for path in paths if (found := expected(path)) and OURS.fullmatch(found[0][0])]


def expected(path: Path) -> list[tuple[str, int, int]]:
    """Read the promises at the top of a file: code, line, column."""
    found = EXPECT.findall(path.read_text("utf-8"))
    return [(code, int(line), int(column)) for code, line, column in found]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse the network the way HF_HUB_OFFLINE=1 does."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("path", ours(), ids=lambda path: path.stem)
def test_it_gives_the_codes_and_places_it_promises(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    spec = load_spec(path)
    with pytest.raises(DiagnosticError) as caught:
        CALLS.get(expected(path)[0][0], inventory_for)(spec)
    found = caught.value.diagnostics
    assert [(item.code, item.span.line, item.span.column) for item in found] == expected(path)
    assert all(item.help and "Traceback" not in item.message for item in found)
    assert capfd.readouterr() == ("", "")


def test_every_code_has_an_invalid_spec() -> None:
    codes = {code for code in entries() if OURS.fullmatch(code)}
    assert codes - {code for path in ours() for code, *_ in expected(path)} == WITHOUT_SPEC


def printed_by_a_spec() -> list[str]:
    """Return the codes whose example is a whole spec and the message that it gives."""
    own = {code: item.example for code, item in entries().items() if OURS.fullmatch(code)}
    return [code for code, text in own.items() if text.startswith("[") and code not in ON_FILES]


@pytest.mark.parametrize("code", printed_by_a_spec())
def test_the_registry_shows_what_is_printed(code: str, tmp_path: Path) -> None:
    example = EXAMPLE.match(entries()[code].example)
    (tmp_path / "spec.toml").write_text(example["spec"], "utf-8")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(DiagnosticError) as caught:
        inventory_for(load_spec(tmp_path / "spec.toml"))
    item = caught.value.diagnostics[0]
    assert (item.code, item.message) == (example["code"], example["message"])


def test_problems_of_the_source_and_of_the_tasks_come_together() -> None:
    spec = load_spec({"model": {"source": "./nowhere"}, "task": [{"name": "topic"}]})
    with pytest.raises(DiagnosticError) as caught:
        inventory_for(spec)
    assert [item.code for item in caught.value.diagnostics] == ["FP150", "FP161"]
