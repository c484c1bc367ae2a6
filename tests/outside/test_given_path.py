"""What callers give as a path: an empty text and what is no path are diagnostics, never the current folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freezeplan.api import DiagnosticError, load_plan, load_run, load_spec, render_report

CALLS: dict[Callable[..., Any], str] = {
    load_plan: "FP584",
    load_run: "FP520",
    load_spec: "FP009",
    render_report: "FP520",
}


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
@pytest.mark.parametrize("given", ["", b"x", 3, None, [b"x"]], ids=repr)
def test_what_is_no_path_is_a_diagnostic(
    call: Callable[..., Any], given: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DiagnosticError) as caught:
        call(given)
    (found,) = caught.value.diagnostics
    assert found.code == CALLS[call]
    assert "`.`" not in found.message
    assert found.help


def test_a_name_that_is_too_long_is_no_run() -> None:
    with pytest.raises(DiagnosticError, match="FP520"):
        render_report("x" * 5000)
