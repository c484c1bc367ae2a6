"""The head that a language model has of its own, and the tasks that stand on it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.diagnostics.wording import some
from freezeplan.inventory.structure import is_under
from freezeplan.models.classes import model_class
from freezeplan.models.configs import hidden_size
from freezeplan.models.provided import BACKBONE, base_prefix
from freezeplan.models.resolve import Source
from freezeplan.models.run_record import RunRecord
from freezeplan.spec.keys import SOURCE
from freezeplan.spec.locations import error_at_key
from freezeplan.spec.tables import Spec
from freezeplan.tasks import TASK_KINDS, task_kind

if TYPE_CHECKING:
    from freezeplan.models.native import NativeHead


def own_tasks(spec: Spec) -> tuple[str, ...]:
    """Return the tasks whose head is the model's own; they share it."""
    return tuple(task.name for task in spec.task if task.own_head)


def own_place(spec: Spec) -> tuple[str, int, str]:
    """Return the key that makes the first of these tasks one."""
    index = next(place for place, task in enumerate(spec.task) if task.own_head)
    return ("task", index, "kind")


def whole_class(config: Any, source: Source, spec: Spec) -> Any:
    """Return the class that has backbone and head; raises FP183 where the architecture has none."""
    if getattr(config, "is_encoder_decoder", False):
        raise _none(spec, "it has an encoder, and only that of the backbone runs")
    kind = next(task_kind(task) for task in spec.task if task.own_head)
    try:
        return model_class(kind.stock["text"], config, source, spec)
    except DiagnosticError as error:
        raise _none(spec, error.diagnostics[0].message) from None


def taken_apart(model: Any, spec: Spec) -> tuple[Any, NativeHead]:
    """Take a whole model apart: its backbone, and its head; raises FP183 where it is not made of the two."""
    from freezeplan.models.native import Unbuildable, parted

    hidden = hidden_size(model.config)
    try:
        if hidden is None:
            raise Unbuildable("the size of its states is not in its config")
        return parted(model, hidden)
    except Unbuildable as reason:
        raise _none(spec, str(reason)) from None


def _none(spec: Spec, cause: str) -> DiagnosticError:
    at = own_place(spec)
    message = f"the model has no head of its own for the task `{spec.task[at[1]].name}`: {cause}"
    return error_at_key(at, "FP183", message, help="name a `source` that is a language model (a decoder)")


def renamed(names: Collection[str], prefix: str, tasks: tuple[str, ...]) -> set[str]:
    """Return what names of a whole model are called in one of backbone and heads."""
    found = {BACKBONE + name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    rest = [name for name in names if not name.startswith(prefix)]
    return found | {f"heads.{task}.{name}" for task in tasks for name in rest}


def state_in_run(tensors: Mapping[str, Any], run: RunRecord, spec: Spec, model: Any) -> dict[str, Any]:
    """Return a run's tensors as a whole model calls them: those of its backbone, and of its language head.

    That is the head of the task of the same name, or else of the first that stands on the model's own head.
    """
    prefix = base_prefix(model)
    found = {
        prefix + name.removeprefix(BACKBONE): tensor
        for name, tensor in tensors.items()
        if name.startswith(BACKBONE)
    }
    owners = [name for name, task in run.tasks.items() if TASK_KINDS[task.kind].own_head]
    for name in sorted(owners, key=lambda name: name in own_tasks(spec)) if own_tasks(spec) else ():
        own = f"heads.{name}."
        found |= {key.removeprefix(own): tensor for key, tensor in tensors.items() if key.startswith(own)}
    return found


def drawn_advice(fresh: Collection[str], loaded: Collection[str], spec: Spec) -> tuple[Diagnostic, ...]:
    """Warn (FP484) of a language model's own head that its source has no values for: ``fresh`` are at random."""
    drawn = [name for task in own_tasks(spec)[:1] for name in fresh if is_under(name, f"heads.{task}")]
    if not drawn or not loaded:
        return ()
    message = f"the source has no values for the model's own head: {some(drawn, 3)} begins at random"
    advice = (
        "name a source that was trained as a language model, unless the head is to be learned from nothing"
    )
    return (spec.locations.report(SOURCE, "FP484", message, help=advice),)
