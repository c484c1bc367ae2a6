"""Tells which parameters a source's checkpoint provides, without reading a tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from freezeplan.inventory.structure import is_under
from freezeplan.models.checkpoint import checkpoint_names
from freezeplan.models.renaming import filled_by
from freezeplan.models.resolve import Source
from freezeplan.models.run_weights import weight_names
from freezeplan.models.timm_models import has_weights
from freezeplan.spec.tables import Spec

Loaded = Callable[[str], bool | None]
BACKBONE = "backbone."


def provided_by(source: Source, spec: Spec, model: Any) -> Loaded:
    """Return a function from a parameter's name to whether the source provides its values.

    True or False where that is known, None where it is not (a source that is not on this machine).
    """
    if source.kind == "none":
        return lambda name: False
    if source.kind == "timm":
        known = has_weights(model)
        return lambda name: known
    if source.run is not None:
        return _from_run(source, spec, model)
    inner = model.backbone if spec.task else model
    backbone = _from_checkpoint(source, inner)
    if not spec.task:
        return backbone
    fresh = False if source.present or source.kind == "hub" else None
    own = _own_heads(source, model)

    def loaded(name: str) -> bool | None:
        if name.startswith(BACKBONE):
            return backbone(name.removeprefix(BACKBONE))
        return own.get(name, fresh)

    return loaded


def _own_heads(source: Source, model: Any) -> dict[str, bool | None]:
    """Return, of the tensors of a language model's own head, whether the checkpoint has them."""
    if not model.over_vocabulary:
        return {}
    names = checkpoint_names(source.files) if source.files and source.kind != "file" else None
    return {
        f"heads.{task}.{name}": None if names is None else name in names
        for task in model.over_vocabulary
        for name, _ in model.heads[task].named_parameters()
    }


def _from_run(source: Source, spec: Spec, model: Any) -> Loaded:
    known = source.folder is not None and source.run is not None
    names = weight_names(source.folder, source.run.weights) if known else None
    if names is None:
        return lambda name: None
    if spec.task:
        return lambda name: name in names
    prefix = base_prefix(model)
    return lambda name: BACKBONE + name.removeprefix(prefix) in names


def base_prefix(model: Any) -> str:
    """Return the path of a task model's base model with a dot behind it; empty for a base model itself."""
    name = getattr(model, "base_model_prefix", "") or ""
    return f"{name}." if name in model._modules else ""


def _from_checkpoint(source: Source, model: Any) -> Loaded:
    names = checkpoint_names(source.files) if source.files and source.kind != "file" else None
    prefix = getattr(model, "base_model_prefix", "") or ""
    has_base = bool(prefix) and prefix in model._modules
    filled = (filled_by(names, model) if names else None) or {}

    def loaded(name: str) -> bool | None:
        in_base = is_under(name, prefix) if has_base else True
        if names is None:
            return True if in_base else None
        if name in filled or {name, f"{prefix}.{name}", name.removeprefix(f"{prefix}.")} & names:
            return True
        # What is missing under the base is refused when the weights are loaded; a pooler is what checkpoints
        # of language models leave out.
        return in_base and "pooler" not in name

    return loaded
