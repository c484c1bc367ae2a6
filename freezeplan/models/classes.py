"""Finds the transformers class that a spec's model is built with."""

from __future__ import annotations

from typing import Any

from freezeplan.diagnostics.wording import closest, quoted
from freezeplan.spec.keys import CLASS
from freezeplan.spec.locations import error_at_key

AUTO = "AutoModel"


def model_class(name: str | None, config: Any) -> Any:
    """Return the class called ``name`` (default AutoModel), checked against the model's config.

    Raises FP155 when transformers has no such class or it is not one for this config.
    """
    import transformers

    if name is None:
        return transformers.AutoModel
    found = getattr(transformers, name, None) if name.isidentifier() else None
    if not isinstance(found, type) or not _is_model(found):
        fitting = classes_for(config.model_type)
        advice = closest(name, [*fitting, *_autos(transformers)]) or _listed(fitting)
        raise error_at_key(CLASS, "FP155", f"transformers has no model class `{name}`", help=advice)
    if not _fits(found, config):
        message = f"`{name}` is not a class for a `{config.model_type}` model"
        raise error_at_key(CLASS, "FP155", message, help=_listed(classes_for(config.model_type)))
    return found


def _is_model(found: type) -> bool:
    return hasattr(found, "_model_mapping") or any(
        base.__name__ == "PreTrainedModel" for base in found.__mro__[1:]
    )


def _fits(found: Any, config: Any) -> bool:
    if hasattr(found, "_model_mapping"):
        return type(config) in found._model_mapping.keys()  # noqa: SIM118 - a lazy mapping
    wanted = getattr(found, "config_class", None)
    return wanted is None or isinstance(config, wanted)


def _autos(transformers: Any) -> list[str]:
    return [name for name in dir(transformers) if name.startswith(AUTO)]


def classes_for(model_type: str) -> list[str]:
    """Return the names of all model classes that transformers registers for a model type, sorted."""
    from transformers.models.auto import modeling_auto

    found: set[str] = set()
    for name in dir(modeling_auto):
        if name.startswith("MODEL_") and name.endswith("_NAMES"):
            value = getattr(modeling_auto, name).get(model_type, ())
            found.update((value,) if isinstance(value, str) else value)
    return sorted(found)


def _listed(names: list[str]) -> str:
    return f"there are {quoted(names)}"
