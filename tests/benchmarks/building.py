"""Builds every class of transformers that its default config allows, on the meta device, a worker at a time."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from freezeplan.inventory.silence import quiet


def meta_model(model_type: str, class_name: str) -> Any:
    """Build a class with the default config of its type on the meta device."""
    import torch
    import transformers

    with quiet(), torch.device("meta"):
        config = transformers.CONFIG_MAPPING[model_type]()
        return getattr(transformers, class_name)._from_config(config)


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


def in_workers(work: Callable[[Any], Any], items: Iterable[Any], workers: int) -> Iterator[Any]:
    """Yield ``work(item)`` for each item in order; each worker is replaced after 200 items to bound memory."""
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=200) as pool:
        yield from pool.map(work, items, chunksize=8)
