"""One tiny model and one set of toy files for all trainer tests; no test may change them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train.tiny import save_tiny_bert, write_toy_data


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ``bert/`` and the three toy files."""
    folder = tmp_path_factory.mktemp("toy")
    save_tiny_bert(folder / "bert")
    write_toy_data(folder)
    return folder
