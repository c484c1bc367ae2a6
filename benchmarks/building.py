"""Builds every class of transformers that its default config allows, on the meta device, a worker at a time."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any
from unittest import mock

from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.records import Inventory
from freezeplan.models.sources import inventory_for
from freezeplan.outside.quiet import quiet
from freezeplan.spec.reading import load_spec

TASK = {"name": "topic", "labels": ["a", "b"]}


def meta_model(model_type: str, class_name: str) -> Any:
    """Build a class with the default config of its type on the meta device."""
    import torch
    import transformers

    with quiet(), torch.device("meta"):
        config = transformers.CONFIG_MAPPING[model_type]()
        return getattr(transformers, class_name)._from_config(config)


def base_inventory(model_type: str) -> Inventory:
    """Return the inventory of a type's base model from its default config, with the head of one task on it.

    A model whose config does not tell how wide its output is has no head. Nothing is read from the cache of
    inventories, and nothing written there. Raises ``DiagnosticError`` where the default config does not build.
    """
    model = {"source": model_type, "architecture": model_type}
    with mock.patch.dict(os.environ, {"FREEZEPLAN_CACHE": "off"}):
        try:
            return inventory_for(load_spec({"model": model, "task": [TASK]}))
        except DiagnosticError as error:
            if [item.code for item in error.diagnostics] != ["FP170"]:
                raise
        return inventory_for(load_spec({"model": model | {"class": "AutoModel"}}))


def base_types() -> list[str]:
    """Return every model type that transformers has a base model for, sorted."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    return sorted(MODEL_MAPPING_NAMES)


def every_class() -> list[tuple[str, str]]:
    """Return (model type, class name) for every class that transformers registers for a type, sorted."""
    from transformers import CONFIG_MAPPING
    from transformers.models.auto import modeling_auto

    found: set[tuple[str, str]] = set()
    for name in dir(modeling_auto):
        if name.startswith("MODEL_") and name.endswith("_MAPPING_NAMES"):
            for model_type, classes in getattr(modeling_auto, name).items():
                found.update(
                    (model_type, item) for item in _as_tuple(classes) if model_type in CONFIG_MAPPING
                )
    return sorted(found)


def _as_tuple(classes: Any) -> tuple[str, ...]:
    return (classes,) if isinstance(classes, str) else tuple(classes)


class TookTooLong(Exception):
    """One model took longer than it may."""


def within(seconds: int, work: Callable[[], Any]) -> Any:
    """Return what ``work`` returns; raises :class:`TookTooLong` after so many seconds."""
    signal.signal(signal.SIGALRM, _stop)
    signal.alarm(seconds)
    try:
        return work()
    finally:
        signal.alarm(0)


def _stop(*_: Any) -> None:
    raise TookTooLong


def _import_libraries() -> None:
    """Import before any clock runs: an import that is interrupted leaves its modules half made."""
    import torch  # noqa: F401
    import transformers.modeling_utils  # noqa: F401


def in_workers(work: Callable[[Any], Any], items: Iterable[Any], workers: int) -> Iterator[Any]:
    """Yield ``work(item)`` for each item in order; each worker is replaced after 200 items to bound memory."""
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, _import_libraries, max_tasks_per_child=200) as pool:
        yield from pool.map(work, items, chunksize=8)
