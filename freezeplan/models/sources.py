"""From a spec to the inventory of its model, without weights and without network where possible."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from freezeplan.data.labels import labels_of
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.diagnostics.wording import counted
from freezeplan.inventory.records import Inventory
from freezeplan.models.cache import cached
from freezeplan.models.fingerprint import inventory_key
from freezeplan.models.left_open import notes_on, pooling_of
from freezeplan.models.remote_code import check_remote_code
from freezeplan.models.resolve import Source, resolve_source
from freezeplan.spec.keys import SOURCE
from freezeplan.spec.locations import attaching, error_at_key
from freezeplan.spec.tables import Spec

__all__ = ["Source", "inventory_for", "label_of", "resolve_source"]

Labels = dict[str, tuple[str, ...]]


@attaching
def inventory_for(spec: Spec, directory: Path | None = None) -> Inventory:
    """Return the inventory of the model that a spec describes.

    The model is built on the meta device from its config (or read from a .safetensors header); no weights are
    read. ``directory`` is where relative paths start when the spec does not come from a file. An inventory that
    was made before, of the same model by the same code, comes from the cache, without torch or transformers.

    Raises ``DiagnosticError`` with all problems of the source and of the tasks' labels.
    """
    source, labels = _source_and_labels(spec, directory)
    if source.config is None and source.file is not None:
        return _from_header(source, source.file, spec)
    return cached(inventory_key(source, spec, labels), lambda: _built(source, spec, labels))


def _built(source: Source, spec: Spec, labels: Labels) -> Inventory:
    # Only here, so that an inventory from the cache is read in no time.
    from freezeplan.inventory.from_module import inventory_of
    from freezeplan.models.build import build_meta_model
    from freezeplan.models.provided import BACKBONE, provided_by
    from freezeplan.models.quantized import quantized_in

    model = build_meta_model(source, spec, labels)
    loaded = provided_by(source, spec, model)
    notes = (*source.notes, *_head_notes(source, spec), *notes_on(spec, source))
    packed = {
        BACKBONE * bool(spec.task) + name: how for name, how in quantized_in(_inner(model, spec)).items()
    }
    label = label_of(source, spec)
    return inventory_of(model, label, origin=source.origin, loaded=loaded, notes=notes, quantized=packed)


def _inner(model: Any, spec: Spec) -> Any:
    return model.backbone if spec.task else model


def _source_and_labels(spec: Spec, directory: Path | None) -> tuple[Source, Labels]:
    problems: list[Diagnostic] = []
    source, labels = None, {}
    try:
        source = resolve_source(spec, directory)
        check_remote_code(source, spec)
    except DiagnosticError as error:
        problems += error.diagnostics
    try:
        labels = labels_of(spec, source.trained_labels if source else {})
    except DiagnosticError as error:
        problems += error.diagnostics
    if source is None or problems:
        raise DiagnosticError(problems)
    return source, labels


def _from_header(source: Source, file: Path, spec: Spec) -> Inventory:
    if spec.task or spec.model.class_:
        what = "tasks" if spec.task else "a `class`"
        message = f"`{source.label}` is a file of tensors: {what} cannot be put on it"
        advice = "add `architecture`, or name the folder that holds the model's config.json"
        raise error_at_key(SOURCE, "FP173", message, help=advice)
    from freezeplan.inventory.header import header_inventory

    return header_inventory(file, source.label)


def label_of(source: Source, spec: Spec) -> str:
    """Return what the plan calls the model: the source as it is written, and the heads put on it."""
    count = len(spec.task)
    heads = f" + {counted(count, 'head')}" if count else ""
    return source.label + (f" as {spec.model.class_}" if spec.model.class_ else heads)


def _head_notes(source: Source, spec: Spec) -> Iterator[str]:
    """Yield what a spec does otherwise with its heads than the run that it starts from."""
    run = source.run
    if run is None or not spec.task:
        return
    if run.pooling != pooling_of(spec, source) and any(task.head != "native" for task in spec.task):
        yield f"the run was trained with {run.pooling} pooling, this spec uses {pooling_of(spec, source)}"
    for task in spec.task:
        trained = run.tasks.get(task.name)
        if trained is not None and trained.head != task.head:
            yield f"the run's head of `{task.name}` is {trained.head}, this spec's {task.head}: it begins anew"
        elif trained is not None and trained.kind != task.kind:
            yield f"the run's head of `{task.name}` learned {trained.kind}, this spec's goes on with {task.kind}"
