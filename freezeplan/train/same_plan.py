"""Refuses to train when the real model's plan is not the one that was shown."""

from __future__ import annotations

from dataclasses import replace

from freezeplan.diagnostics.wording import counted, first_few
from freezeplan.plan.changes import compare
from freezeplan.plan.comparable import comparable
from freezeplan.plan.document import to_record
from freezeplan.plan.records import Assignment, Plan, PlannedParam
from freezeplan.render.changes import change_lines
from freezeplan.spec.tables import Spec

SHOWN = 8


def check_same_plan(shown: Plan, real: Plan, spec: Spec) -> None:
    """Compare two plans in everything that training depends on; names of models and advice may differ.

    Raises ``DiagnosticError`` (FP500) that names the first tensors that differ, at the spec's ``[model]``.
    """
    differences = _differences(shown, real)
    if not differences:
        return
    raise spec.locations.error(
        ("model",),
        "FP500",
        f"the model that was loaded differs from the one the plan was shown for ({shown.origin}): "
        f"{counted(len(differences), 'difference')}",
        help="look at the plan again with the source's own config on this machine, then train",
        notes=first_few(differences, SHOWN),
    )


def _differences(shown: Plan, real: Plan) -> list[str]:
    before, after = _by_name(shown), _by_name(real)
    found = [f"`{name}` was shown and is not in the model" for name in before if name not in after]
    found += [f"`{name}` is in the model and was not shown" for name in after if name not in before]
    found += [
        f"`{name}` was shown as {_words(*before[name])}, is {_words(*after[name])}"
        for name in before
        if name in after and before[name] != after[name]
    ]
    neutral = {"model": "", "origin": "", "diagnostics": ()}
    if not found and replace(shown, **neutral) != replace(real, **neutral):
        changes = compare(*(comparable(to_record(plan)) for plan in (shown, real)))
        found += change_lines(changes) or [
            "the tensors are the same; the groups or what is frozen first are not"
        ]
    return found


def _by_name(plan: Plan) -> dict[str, tuple[PlannedParam, Assignment]]:
    pairs = zip(plan.params, plan.phases[0].assignments, strict=True)
    return {param.name: (param, what) for param, what in pairs}


def _words(param: PlannedParam, what: Assignment) -> str:
    shape = " x ".join(map(str, param.shape)) or "scalar"
    tied = f", tied to {', '.join(param.aliases)}" if param.aliases else ""
    return f"{shape} {param.dtype}{tied}, {what.state}, lr {what.lr:g}, weight decay {what.weight_decay:g}"
