"""Every example in a docstring does what it shows."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import freezeplan

ROOT = Path(__file__).parents[2]
FILES = sorted((*ROOT.glob("freezeplan/**/*.py"), *ROOT.glob("tools/*.py"), *ROOT.glob("benchmarks/*.py")))
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in FILES
    if ">>> " in path.read_text("utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted and not results.failed


@pytest.mark.parametrize("name", freezeplan.__all__)
def test_what_the_package_exports_says_what_it_is(name: str) -> None:
    text = getattr(freezeplan, name).__doc__
    assert text and text.splitlines()[0].endswith("."), name


@pytest.mark.parametrize("name", [name for name in freezeplan.__all__ if name.islower()])
def test_every_call_has_an_example(name: str) -> None:
    assert ">>> " in getattr(freezeplan, name).__doc__
