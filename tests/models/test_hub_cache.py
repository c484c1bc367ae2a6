"""Where a hub model's config lies in the local cache: as the hub's own package finds it, without importing it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from freezeplan.outside.hub import cached_config

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache with one model on ``main`` and on a tag, one without a config, and one known to have none."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    put(tmp_path, "plain", {"main": COMMIT, "v1": COMMIT}, config=True)
    put(tmp_path, "owner--named", {"main": COMMIT, "refs/pr/1": COMMIT}, config=True)
    put(tmp_path, "bare", {"main": COMMIT}, config=False)
    put(tmp_path, "stale", {"main": "gone"}, config=True)
    put(tmp_path, "refless", {}, config=True)
    put(tmp_path, "denied", {"main": COMMIT}, config=True)
    absent = tmp_path / "models--denied" / ".no_exist" / COMMIT / "config.json"
    absent.parent.mkdir(parents=True)
    absent.write_text("")
    return tmp_path


def put(cache: Path, name: str, refs: dict[str, str], *, config: bool) -> None:
    folder = cache / f"models--{name}"
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    for ref, commit in refs.items():
        (folder / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (folder / "refs" / ref).write_text(commit)
    if config:
        (folder / "snapshots" / COMMIT / "config.json").write_text("{}")


@pytest.mark.parametrize("repo", ["plain", "owner/named", "bare", "stale", "refless", "denied", "missing"])
@pytest.mark.parametrize("revision", [None, "main", "v1", "refs/pr/1", COMMIT, "nope", "../snapshots", "."])
def test_it_is_what_the_hub_s_package_finds(repo: str, revision: str | None, cache: Path) -> None:
    from huggingface_hub import try_to_load_from_cache

    theirs = try_to_load_from_cache(repo, "config.json", cache_dir=cache, revision=revision)
    assert cached_config(repo, revision) == (Path(theirs) if isinstance(theirs, str) else None)


WHERE = {
    "HF_HUB_CACHE": "{}/own",
    "HUGGINGFACE_HUB_CACHE": "{}/older",
    "HF_HOME": "{}/home",
    "XDG_CACHE_HOME": "{}/xdg",
    "HOME": "{}/user",
}
ASK = "from freezeplan.outside import hub; import sys; ours = hub._cache_folder(); "
ASK += "assert 'huggingface_hub' not in sys.modules; "
ASK += "from huggingface_hub import constants; print(ours); print(constants.HF_HUB_CACHE)"


@pytest.mark.parametrize("first", range(len(WHERE)))
def test_the_folder_is_the_one_that_the_hub_s_package_would_use(first: int, tmp_path: Path) -> None:
    names = list(WHERE)[first:]
    environment = {name: WHERE[name].format(tmp_path) for name in names}
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env={**environment, "PYTHONPATH": root, "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    ours, theirs = done.stdout.split()
    assert ours == theirs
