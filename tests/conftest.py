"""What all tests share: one profile of hypothesis, no network, one thread, the data beside the repository."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# Before anything imports torch or transformers: both read these once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["FREEZEPLAN_CACHE"] = "off"

# A script's `tests &` ignores Ctrl-C and `nohup` a hang-up, for all processes below them; the tests send both.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# Generated models make the first examples of a property slow to draw; that says nothing about the law.
settings.register_profile("ci", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of conformance cases and data beside the repository; skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the folder of shared conformance cases is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ``bert/`` and the three toy files; no test may change them."""
    from tests.train.tiny import save_tiny_bert, write_toy_data

    folder = tmp_path_factory.mktemp("toy")
    save_tiny_bert(folder / "bert")
    write_toy_data(folder)
    return folder
