"""Whether a spec still gives the plan that it gave before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from freezeplan.diagnostics import DiagnosticError, diagnostic

if TYPE_CHECKING:
    from freezeplan.plan.records import Plan

SHOWN = 20


def check_given(path: Path, plan: Plan) -> None:
    """Refuse a spec whose plan is another one than the plan in a file.

    Names of rules and groups, and advice, make no difference. Raises ``DiagnosticError``: FP586 with the
    differences, FP584 and FP585 for a file that cannot be read as a plan.
    """
    from freezeplan.api import load_plan
    from freezeplan.diagnostics.wording import counted, first_few
    from freezeplan.plan.changes import compare
    from freezeplan.plan.comparable import comparable
    from freezeplan.plan.document import to_record
    from freezeplan.render.changes import change_lines

    found = compare(*(comparable(to_record(item)) for item in (load_plan(path), plan)))
    if found.count:
        lines = change_lines(found)
        message = f"the spec gives another plan than `{path}`: {counted(len(lines), 'difference')}"
        advice = "put spec, model and libraries back as they were, or write the plan again and look at it"
        notes = first_few(lines, SHOWN)
        raise DiagnosticError([diagnostic("FP586", message, help=advice, notes=notes)])
