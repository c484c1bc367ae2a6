"""From a spec's path to its plan, for every command that needs one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freezeplan.diagnostics import Diagnostic, DiagnosticError

if TYPE_CHECKING:
    from freezeplan.inventory.records import Inventory
    from freezeplan.plan.records import Plan
    from freezeplan.plan.storing import StoreRows
    from freezeplan.spec.tables import Spec


@dataclass(frozen=True)
class Compiled:
    """A spec with the model it is about and the plan it compiles to."""

    spec: Spec
    inventory: Inventory
    plan: Plan

    @property
    def execution(self) -> tuple[str, ...] | None:
        """How the frozen prefix of each phase will run, where the bundled trainer can train the spec."""
        from freezeplan.plan.storing import store_statements

        return store_statements(self.spec, self.plan, self._rows) if self.spec.task else None

    @property
    def training(self) -> dict[str, Any]:
        """What the bundled trainer is to do besides the plan: its tasks, the table ``[train]`` and its steps."""
        from freezeplan.plan.stepping import steps_of_phases
        from freezeplan.render.training import training_record

        steps = steps_of_phases(self.spec, self.plan, self._rows.train) if self._rows else ()
        return training_record(self.spec, self.plan, steps)

    @cached_property
    def _rows(self) -> StoreRows | None:
        from freezeplan.cost.store_rows import counted_rows

        return counted_rows(self.spec, self.plan) if self.spec.task else None


def compiled(path: Path, model: str | None = None) -> Compiled:
    """Read a spec, find its model (or ``model`` in its place) and compile the plan.

    Raises ``DiagnosticError`` with everything that is wrong.
    """
    from freezeplan.spec.reading import load_spec

    return compiled_spec(load_spec(path), model)


def compiled_spec(spec: Spec, model: str | None = None) -> Compiled:
    """Compile a spec that was read, for its own model or for ``model``, which all diagnostics then name."""
    if model is None:
        return _compiled(spec)
    from freezeplan.models.overriding import with_model

    other = with_model(spec, model)
    with for_model(model):
        work = _compiled(other)
    # A config alone stands for checkpoints that are elsewhere: what they provide is not known.
    told = [item for item in work.plan.diagnostics if other.model.source or item.code != "FP406"]
    return replace(work, plan=replace(work.plan, diagnostics=_named(told, model)))


@contextmanager
def for_model(model: str | None, given_by: str = "--model") -> Iterator[None]:
    """Let the diagnostics that are raised inside name the model that the command line gave, if any."""
    try:
        yield
    except DiagnosticError as error:
        named = _named(error.diagnostics, model, given_by) if model else error.diagnostics
        raise DiagnosticError(named) from None


def _compiled(spec: Spec) -> Compiled:
    from freezeplan.models.left_open import source_advice
    from freezeplan.models.sources import inventory_for, resolve_source
    from freezeplan.plan import compile_plan

    inventory = inventory_for(spec)
    plan = compile_plan(inventory, spec)
    told = source_advice(spec, resolve_source(spec))
    return Compiled(spec, inventory, replace(plan, diagnostics=(*plan.diagnostics, *told)))


def _named(items: Iterable[Diagnostic], model: str, given_by: str = "--model") -> tuple[Diagnostic, ...]:
    """Say in each diagnostic which model it is about, and put those about ``[model]`` at the option."""
    return tuple(_about(item, model, given_by) for item in items)


def _about(item: Diagnostic, model: str, given_by: str) -> Diagnostic:
    if item.span is None and (item.where or "").startswith("model."):
        notes = tuple(note.replace("the spec's folder", "the folder you are in") for note in item.notes)
        option = "--class" if item.where == "model.class" else f"{given_by} {model}"
        return replace(item, where=option, help=_help(item, model), notes=notes)
    return replace(item, notes=(*item.notes, f"the model is `{model}`, by {given_by}"))


def _help(item: Diagnostic, model: str) -> str | None:
    if item.code != "FP156":
        return item.help
    from freezeplan.models.overriding import close_type

    return close_type(model) or item.help
