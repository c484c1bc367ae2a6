from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.report.made import comparison_record, probe_record, strange_run


@pytest.fixture(scope="session")
def strange(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run whose names are HTML, quotes, controls and long words; no test may change it."""
    return strange_run(tmp_path_factory.mktemp("strange"), toy)


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of a comparison, and the file of a probe."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "comparison.json").write_text(json.dumps(comparison_record()), "utf-8")
    (folder / "probe.json").write_text(json.dumps(probe_record()), "utf-8")
    return folder, folder / "probe.json"
