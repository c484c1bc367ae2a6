"""What every guest refuses alike, whatever its host: another plan's checkpoint, and another length than the plan's."""

from __future__ import annotations

from freezeplan.apply.timetable import Timetable
from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.plan.document import plan_hash
from freezeplan.plan.records import Plan


def check_saved_plan(plan: Plan, saved: str) -> None:
    """Raise (FP445) where a checkpoint holds the hash of another plan."""
    own = plan_hash(plan)
    if saved != own:
        message = f"the checkpoint was made by another plan ({saved[:12]}, this one is {own[:12]})"
        advice = "go on with the plan that it was made by, or start again from its weights"
        raise DiagnosticError([diagnostic("FP445", message, help=advice)])


def without_end(timetable: Timetable) -> Diagnostic | None:
    """Return FP443 where a phase is as long as epochs and the host's data have no length."""
    lengths = [(phase.name, phase.length) for phase in timetable.plan.phases]
    by_host = timetable.host_steps is not None
    by_epochs = [name for name, item in lengths if item.unit != "steps" and not (item.by_default and by_host)]
    if timetable.steps_per_epoch is not None or not by_epochs:
        return None
    message = f"phase `{by_epochs[0]}` is as long as epochs, and the training data have no length"
    return diagnostic("FP443", message, help="give the phase a number of `steps`")


def another_length(timetable: Timetable, steps: int, advice: str) -> Diagnostic:
    """Return FP441 for a host that takes so many steps, with those of each phase."""
    message = f"the Trainer takes {steps} steps; the plan's phases have {timetable.steps}"
    taken = zip(timetable.plan.phases, timetable.phase_steps, strict=True)
    notes = [f"phase `{phase.name}`: {count} steps" for phase, count in taken]
    return diagnostic("FP441", message, help=advice, notes=notes)
