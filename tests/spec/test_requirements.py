"""``requires``: what is installed is held against it, before anything else is done with the spec."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

import freezeplan
from freezeplan.diagnostics import DiagnosticError
from freezeplan.spec.reading import load_spec

RULE = '[[rule]]\nmatch = "**"\nstate = "frozen"\n'


def read(tmp_path: Path, requires: str) -> list[tuple[str, str]]:
    """Return code and marked text of each error of a spec with this value of ``requires``."""
    path = tmp_path / "spec.toml"
    path.write_text(f"requires = {requires}\n{RULE}")
    try:
        load_spec(path)
    except DiagnosticError as error:
        spans = [(item.code, item.span) for item in error.diagnostics]
        return [(code, span.text[span.column - 1 :][: span.length]) for code, span in spans if span]
    return []


@pytest.mark.parametrize(
    "requires",
    [
        "{}",
        f'{{ freezeplan = "=={freezeplan.__version__}", transformers = ">={version("transformers")}" }}',
        '{ torch = ">=2, <99" }',
        '{ torch = "" }',
    ],
)
def test_what_is_installed_satisfies(tmp_path: Path, requires: str) -> None:
    assert read(tmp_path, requires) == []


@pytest.mark.parametrize(
    ("requires", "code", "marked"),
    [
        ('{ transformers = ">=99" }', "FP147", '">=99"'),
        ('{ freezeplan = "==0.0.1" }', "FP147", '"==0.0.1"'),
        ('{ no-such-package-here = ">=1" }', "FP147", "no-such-package-here"),
        ('{ "" = ">=1" }', "FP147", '""'),
        ('{ transformers = "5.x" }', "FP146", '"5.x"'),
        ('{ transformers = ">=" }', "FP146", '">="'),
        ("{ transformers = 5 }", "FP103", "5"),
    ],
)
def test_what_is_not_installed_or_no_version_is_an_error_at_its_place(
    tmp_path: Path, requires: str, code: str, marked: str
) -> None:
    assert read(tmp_path, requires) == [(code, marked)]


def test_a_base_s_requirements_hold_too_unless_the_spec_says_otherwise(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(f'requires = {{ torch = ">=99" }}\n{RULE}')
    (tmp_path / "spec.toml").write_text('extends = "base.toml"\n')
    with pytest.raises(DiagnosticError) as caught:
        load_spec(tmp_path / "spec.toml")
    assert [item.code for item in caught.value.diagnostics] == ["FP147"]
    (tmp_path / "spec.toml").write_text('extends = "base.toml"\nrequires = { torch = ">=2" }\n')
    assert load_spec(tmp_path / "spec.toml").requires == {"torch": ">=2"}
