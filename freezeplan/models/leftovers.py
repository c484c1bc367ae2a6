"""Says which weights of a source found no place in the model, and are dropped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import counted, some
from freezeplan.spec.keys import SOURCE
from freezeplan.spec.tables import Spec

if TYPE_CHECKING:
    from freezeplan.models.loading import LoadRecord


def unused_advice(record: LoadRecord, model: Any, spec: Spec) -> tuple[Diagnostic, ...]:
    """Return advice on weights that were not loaded: a warning for parts of the backbone, a note for heads.

    ``model`` is the one that was loaded: one of transformers, or the backbone under the heads of tasks.
    """
    lost, heads = _sorted(record.unused, model)
    found = []
    if lost:
        what = f"{counted(len(lost), 'tensor')} of the source's backbone have no place in this model"
        advice = "use the config that belongs to the weights, or check that dropping them is meant"
        found.append(spec.locations.report(SOURCE, "FP178", f"{what}: {some(lost, 3)}", help=advice))
    if heads:
        what = f"{counted(len(heads), 'tensor')} of the source are not used, such as a head of its own"
        found.append(spec.locations.report(SOURCE, "FP179", f"{what}: {some(heads, 3)}"))
    return tuple(found)


def _sorted(unused: Iterable[str], model: Any) -> tuple[list[str], list[str]]:
    """Return the names that belong to a module that the model has too, then the others."""
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    lost, heads = [], []
    for name in unused:
        first = name.removeprefix(prefix).partition(".")[0]
        inside = first in model._modules or name.partition(".")[0] in model._modules
        (lost if inside else heads).append(name)
    return lost, heads
