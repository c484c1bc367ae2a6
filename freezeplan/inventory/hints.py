"""Reads what transformers says about the structure of a live model; other modules give no hints."""

from __future__ import annotations

import re
import sys
from typing import Any

from freezeplan.inventory.names import canonical_modules, unwrapped
from freezeplan.inventory.structure import Hints, Tower

# Config attributes that count layers: num_hidden_layers, n_layer, encoder_layers, num_blocks, depths …
COUNTS = re.compile(
    r"(?:^|_)(?:n|num|encoder|decoder)_(?:\w+_)?(?:layers?|blocks?|groups?|stages?)$|(?:^|_)depths?$"
)

# How transformers ends the names of classes without a head.
BARE = ("Model", "Encoder", "Decoder", "Backbone")


def hints_of(model: Any) -> Hints:
    """Return what is known of a live model beside its tree of modules."""
    root = unwrapped(model)
    names = {base.__name__ for base in type(root).__mro__}
    multitask = sys.modules.get("freezeplan.inventory.multitask")
    modules = [(path, module) for path, module, _ in canonical_modules(model)]
    embeddings = _input_embeddings(modules)
    towers = tuple(_tower(path, module) for path, module in modules if _is_pretrained(module))
    if multitask is not None and isinstance(root, multitask.MultiTaskModel):
        return Hints("backbone", heads=("heads",), input_embeddings=embeddings, towers=towers)
    if "PreTrainedModel" not in names:
        return Hints(towers=towers, input_embeddings=embeddings)
    base = _base(root)
    return Hints(base, base is None and _is_task_class(root), None, embeddings, towers)


def _is_pretrained(module: Any) -> bool:
    return any(base.__name__ == "PreTrainedModel" for base in type(module).__mro__)


def _base(root: Any) -> str | None:
    prefix = getattr(root, "base_model_prefix", "")
    node = root
    for name in prefix.split(".") if prefix else ():
        node = node._modules.get(name) if node is not None else None
    return prefix if prefix and node is not None else None


def _is_task_class(root: Any) -> bool:
    """Tell whether a model is more than the base model that AutoModel would build for its config."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    base = MODEL_MAPPING_NAMES.get(getattr(root.config, "model_type", None), ())
    names = (base,) if isinstance(base, str) else tuple(base)
    return type(root).__name__ not in names and not type(root).__name__.endswith(BARE)


def _input_embeddings(modules: list[tuple[str, Any]]) -> tuple[str, ...]:
    by_id: dict[int, str] = {}
    for path, module in modules:
        by_id.setdefault(id(module), path)
    found = [_input_embedding(module) for _, module in modules if _is_pretrained(module)]
    return tuple(dict.fromkeys(by_id[id(item)] for item in found if id(item) in by_id))


def _input_embedding(module: Any) -> Any:
    try:
        return module.get_input_embeddings()
    except Exception:  # noqa: BLE001 - models without the accessor raise what they like
        return None


def _tower(path: str, module: Any) -> Tower:
    recorded = (getattr(module, "_can_record_outputs", None) or {}).get("hidden_states")
    unsplit = getattr(module, "_no_split_modules", None) or ()
    return Tower(path, _counts(module.config), frozenset(unsplit), frozenset(_class_names(recorded)))


def _class_names(recorded: Any) -> list[str]:
    entries = recorded if isinstance(recorded, (list, tuple)) else [recorded]
    classes = [getattr(item, "target_class", item) for item in entries]
    return [item.__name__ for item in classes if isinstance(item, type)]


def _counts(config: Any) -> dict[str, int | tuple[int, ...]]:
    names = [*getattr(config, "attribute_map", {}), *vars(config)]
    found = {name: _count(getattr(config, name, None)) for name in names if COUNTS.search(name)}
    return {name: count for name, count in found.items() if count is not None}


def _count(value: Any) -> int | tuple[int, ...] | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(item, int) for item in value):
        return tuple(value)
    return None
