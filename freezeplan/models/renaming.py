"""Which tensors of a model a checkpoint fills, by the rules with which transformers renames as it loads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def filled_by(names: Iterable[str], model: Any) -> dict[str, str] | None:
    """Return for each tensor of ``model`` that a checkpoint fills the (first) name that it has there.

    ``names`` are those of the checkpoint, ``model`` is one of transformers, on any device. None where the
    installed transformers cannot be asked, or the model is not one of its own.
    """
    try:
        return dict(_pairs(sorted(names, reverse=True), model))
    except Exception:  # noqa: BLE001 - these functions are not promised to stay as they are
        return None


def _pairs(names: list[str], model: Any) -> Iterator[tuple[str, str]]:
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    rules = get_model_conversion_mapping(model)
    renamings = [rule for rule in rules if isinstance(rule, WeightRenaming)]
    converters = [rule for rule in rules if isinstance(rule, WeightConverter)]
    targets = {pattern: rule.target_patterns for rule in converters for pattern in rule.source_patterns}
    state, prefix = model.state_dict(), model.base_model_prefix
    for name in names:
        found, pattern = rename_source_key(name, renamings, converters, prefix, state)
        if found not in state and name in state:
            found, pattern = rename_source_key(name, [], [], prefix, state)
        first, *more = targets.get(pattern, ()) or ("",)
        yield found, name
        yield from ((found.replace(first, other), name) for other in more)
