"""Reads what one model says of itself: where its base is, and which of its parts are heads."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from freezeplan.inventory.named_heads import heads_by_accessor, names_its_head
from freezeplan.inventory.names import is_a, join, unwrapped
from freezeplan.inventory.put_into import put_into
from freezeplan.inventory.structure import Hints

ABSTRACT = "PreTrainedModel"
# How transformers ends the names of classes without a head.
BARE = ("Model", "Encoder", "Decoder", "Backbone")
# A class attribute by which a model of ours says which child is its base, and which are its heads.
PARTS = "freezeplan_parts"


def says_its_parts(module: Any) -> bool:
    """Tell whether a model's class says what its base is, as transformers' own and ours do, or names its head."""
    return says_its_base(module) or names_its_head(module)


def says_its_base(module: Any) -> bool:
    """Tell whether a model's class says what its base is: transformers' own, and ours."""
    return is_a(module, ABSTRACT) or getattr(type(module), PARTS, None) is not None


def said_by(model: Any, path: str, hints: Hints) -> Hints:
    """Return the hints with what the model at a path says of its base and its heads.

    Where it names no base and stands inside another module, it is the base itself; so is one that names its head
    alone, which then lies inside its base. ``heads`` stays None where what it names is not clear.
    """
    if not says_its_base(model):
        return replace(hints, base=path, heads=heads_by_accessor(model, path))
    if own := getattr(type(model), PARTS, None):
        base, *heads = own
        return replace(hints, base=join(path, base), heads=tuple(join(path, name) for name in heads))
    base = base_of(model)
    hints = replace(hints, base=join(path, base) if base else path or base)
    inner = model.get_submodule(base) if base else None
    if inner is not None and not says_its_base(inner) and names_its_head(inner):
        # A frame of transformers around another library's whole model.
        return replace(hints, heads=heads_by_accessor(inner, join(path, base or "")))
    if base is not None or not _is_task_class(model):
        base_model = unwrapped(model.get_submodule(base) if base else model)
        return replace(hints, put_in=tuple(join(hints.base or "", name) for name in put_into(base_model)))
    return replace(hints, head_only=True, base_children=_base_children(model))


def base_of(model: Any) -> str | None:
    """Return the path of a model's base in it: empty for a base model, None where it names none."""
    return "" if _is_base_class(model) and type(model).__name__.endswith(BARE) else _named_base(model)


def is_of_transformers(model: Any) -> bool:
    """Tell whether a model's class, or one that it extends, is an architecture of transformers and no mere frame."""
    classes = [base for base in type(model).__mro__ if base.__module__.partition(".")[0] == "transformers"]
    frames = [base.__name__ for base in classes if base.__name__.endswith(ABSTRACT)]
    return any(
        any(frame.__name__ == ABSTRACT for frame in base.__mro__) and base.__name__ not in frames
        for base in classes
    )


def _named_base(model: Any) -> str | None:
    prefix = getattr(model, "base_model_prefix", "")
    node = model
    for name in prefix.split(".") if prefix else ():
        node = node._modules.get(name) if node is not None else None
    return prefix if prefix and node is not None else None


def _is_base_class(model: Any) -> bool:
    """Tell whether a model is the base model that AutoModel builds for its config."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    base = MODEL_MAPPING_NAMES.get(getattr(model.config, "model_type", None), ())
    return type(model).__name__ in ((base,) if isinstance(base, str) else tuple(base))


def _is_task_class(model: Any) -> bool:
    """Tell whether a model is more than the base model that AutoModel would build for its config."""
    return not _is_base_class(model) and not type(model).__name__.endswith(BARE)


def _base_children(model: Any) -> tuple[str, ...] | None:
    """Return the names of the children of the base model's class, None when it shares none with the model."""
    import torch
    import transformers

    from freezeplan.outside.quiet import quiet

    try:
        with quiet(), torch.random.fork_rng(devices=[]), torch.device("meta"):
            base = transformers.AutoModel.from_config(copy.deepcopy(model.config), trust_remote_code=False)
    except Exception:  # noqa: BLE001 - many configs have no base model
        return None
    names = tuple(name for name, _ in base.named_children())
    return names if type(base) is not type(model) and set(names) & model._modules.keys() else None
