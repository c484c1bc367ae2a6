"""Lists on the pages are complete: what they list is read off the code, and must stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from freezeplan.render.scenarios import SCENARIOS
from freezeplan.spec.selector import ROLES
from freezeplan.spec.tables import Gradual, LayerDecay, TrainTable
from tests.test_architecture import ORDER

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def text_of(page: str, heading: str) -> str:
    """Return what stands under a heading of a page, up to the next of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    text = (DOCS / page).read_text("utf-8").partition(f"\n{heading}\n")[2]
    assert text, f"{page} has no heading `{heading}`"
    return re.split(rf"^#{{1,{level}}} ", text, maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(text: str) -> set[str]:
    """Return the words in backquotes of the first column of the tables in a text."""
    cells = re.findall(r"^\| (.*?) \|", text, flags=re.MULTILINE)
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def test_the_roles_of_the_language() -> None:
    assert {word for word in first_cells(text_of("language.md", "### Roles")) if "[" not in word} == {
        f"@{role}" for role in ROLES
    }


def test_the_presets() -> None:
    files = {path.stem for path in (ROOT / "freezeplan" / "presets").glob("*.toml")}
    assert first_cells(text_of("language.md", "## Building on another spec")) == files


def test_the_formulas_of_layer_decay() -> None:
    formulas = LayerDecay.model_json_schema()["properties"]["formula"]["enum"]
    text = text_of("language.md", "## Layer decay")
    assert all(f"`{name}`" in text for name in formulas)


def test_the_scenarios_of_init() -> None:
    text = text_of("commands.md", "## A new spec")
    assert all(f"`{name}`" in text for name in SCENARIOS)


def test_the_keys_of_gradual() -> None:
    assert first_cells(text_of("phases.md", "## Gradual unfreezing")) == set(Gradual.model_fields)


def test_every_key_of_train_is_on_a_page() -> None:
    pages = "\n".join(path.read_text("utf-8") for path in DOCS.glob("*.md"))
    missing = [name for name in TrainTable.model_fields if not re.search(rf"\b{name}\b", pages)]
    assert not missing


def test_the_rooms_of_the_package() -> None:
    rooms = re.findall(
        r"^\| `freezeplan/(\w+)(?:/|\.py)` \|", text_of("design.md", "## The rooms"), flags=re.MULTILINE
    )
    assert rooms == list(ORDER)


def test_the_folders_beside_the_package() -> None:
    named = set(re.findall(r"^\| `(\w+)/` \|", text_of("design.md", "## The rooms"), flags=re.MULTILINE))
    assert all((ROOT / name).is_dir() for name in named)
    assert named >= {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"freezeplan"}


def test_the_folders_of_tests() -> None:
    folders = {path.name for path in (ROOT / "tests").iterdir() if any(path.glob("test_*.py"))}
    named = set(re.findall(r"`tests/(\w+)/`", (DOCS / "testing.md").read_text("utf-8")))
    assert named == folders


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_modules_that_a_page_names_are_there(page: Path) -> None:
    for name in re.findall(r"python -m ((?:benchmarks|tools)\.\w+)", page.read_text("utf-8")):
        assert (ROOT / name.replace(".", "/")).with_suffix(".py").is_file(), name
    for name in re.findall(r"`((?:tests|specs|examples|tools|benchmarks)/[\w/.]+)`", page.read_text("utf-8")):
        assert (ROOT / name).exists(), name
