"""Finds the transformers class that a spec's model is built with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from freezeplan.diagnostics import DiagnosticError
from freezeplan.diagnostics.wording import closest, quoted
from freezeplan.models.refusals import refused
from freezeplan.models.remote_code import reference_of, shipped_by, shipped_class, trusts
from freezeplan.models.resolve import Source
from freezeplan.spec.keys import CLASS
from freezeplan.spec.locations import error_at_key
from freezeplan.spec.tables import Spec

AUTO = "AutoModel"


def model_class(name: str | None, config: Any, source: Source, spec: Spec) -> Any:
    """Return the class called ``name`` (default AutoModel), checked against the model's config.

    Where the spec trusts the code that the source ships, that code's classes come first, by their own names and
    by those of the automatic classes that they stand for. Raises FP155 when neither that code nor transformers
    has such a class, or it is not one for this config, FP154 when that code does not run.
    """
    import transformers

    shipped = shipped_by(source.config) if trusts(spec) else {}
    reference = reference_of(name or AUTO, shipped)
    if reference is not None:
        return _shipped(reference, source, spec)
    found = getattr(transformers, name or AUTO, None) if (name or AUTO).isidentifier() else None
    if not isinstance(found, type) or not _is_model(found):
        fitting = [*shipped, *classes_for(config.model_type)]
        advice = closest(name or AUTO, [*fitting, *_autos(transformers)]) or _listed(fitting)
        raise error_at_key(CLASS, "FP155", f"transformers has no model class `{name}`", help=advice)
    if not _fits(found, config):
        raise _unfit(name, config, source, shipped)
    return found


def _shipped(reference: str, source: Source, spec: Spec) -> Any:
    try:
        return shipped_class(reference, source, spec)
    except Exception as error:
        raise refused(source, error) from None


def _unfit(name: str | None, config: Any, source: Source, shipped: Mapping[str, str]) -> DiagnosticError:
    known = [name for name in shipped if name.startswith(AUTO)] + classes_for(config.model_type)
    message = f"`{name or AUTO}` is not a class for a `{config.model_type}` model"
    if shipped and name is None:
        message = f"the code that `{source.label}` ships has no base model (`{AUTO}`)"
    return error_at_key(CLASS, "FP155", message, help=_listed(known))


def _is_model(found: type) -> bool:
    return hasattr(found, "_model_mapping") or any(
        base.__name__ == "PreTrainedModel" for base in found.__mro__[1:]
    )


def _fits(found: Any, config: Any) -> bool:
    if hasattr(found, "_model_mapping"):
        # Its keys would import the configs of all models. It knows classes by their names; one that a model ships
        # may bear the name of another.
        mapping, kind = found._model_mapping, type(config)
        own = kind.__module__.startswith("transformers.") or kind in mapping._extra_content
        return own and kind in mapping
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
