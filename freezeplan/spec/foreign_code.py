"""Whether code from elsewhere that a spec names may run here: a model's own, or an optimizer's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

SETTING = "FREEZEPLAN_REMOTE_CODE"
OFF = ("0", "off", "no", "false")
ADVICE = f"read that code, then run this without `--no-remote-code` and without `{SETTING}=off`"

_forbidden: ContextVar[bool] = ContextVar("_forbidden", default=False)


@contextmanager
def no_remote_code() -> Iterator[None]:
    """Run no code from elsewhere inside the block, whatever a spec says."""
    token = _forbidden.set(True)
    try:
        yield
    finally:
        _forbidden.reset(token)


def is_forbidden() -> bool:
    """Tell whether code from elsewhere is switched off."""
    return _forbidden.get() or os.environ.get(SETTING, "").strip().lower() in OFF
