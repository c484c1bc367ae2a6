"""The digits example: its plan needs no images, and its script writes what its spec names."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from freezeplan.api import load_spec
from freezeplan.train.run import train

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a copy of the example in a folder of its own, without data."""
    (tmp_path / "examples").mkdir()
    for name in ("digits_vit.toml", "make_digits.py"):
        shutil.copy(EXAMPLES / name, tmp_path / "examples")
    return tmp_path


def test_show_needs_no_images(place: Path) -> None:
    command = [sys.executable, "-m", "freezeplan", "show", "examples/digits_vit.toml"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "everything/layer 3" in done.stdout and "vit + 2 heads" in done.stdout


def test_the_script_writes_every_digit_once(place: Path) -> None:
    runpy.run_path(str(place / "examples" / "make_digits.py"))["main"](place / "runs" / "digits")
    splits = {path.stem: path.read_text().splitlines() for path in (place / "runs" / "digits").iterdir()}
    assert {name: len(lines) for name, lines in splits.items()} == {
        "train": 1257,
        "validation": 180,
        "test": 360,
    }
    rows = [json.loads(line) for lines in splits.values() for line in lines]
    assert {row["digit"] for row in rows} == set(range(10))
    assert all((row["parity"] == "odd") is bool(row["digit"] % 2) for row in rows)
    pixels = {pixel for row in rows for line in row["image"] for pixel in line}
    assert (min(pixels), max(pixels), len(pixels)) == (0, 255, 17)


@pytest.mark.slow
def test_the_example_learns_both_tasks(place: Path) -> None:
    runpy.run_path(str(place / "examples" / "make_digits.py"))["main"](place / "runs" / "digits")
    result = train(load_spec(place / "examples" / "digits_vit.toml"), place / "runs" / "digits_vit")
    assert result.test["digit"]["accuracy"] >= 0.9
    assert result.test["parity"]["accuracy"] >= 0.93
