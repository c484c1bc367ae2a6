"""Code that a model ships: it runs where the spec says so, and nowhere where that is switched off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from freezeplan.models.resolve import Source
from freezeplan.spec.foreign_code import ADVICE, is_forbidden
from freezeplan.spec.locations import error_at_key
from freezeplan.spec.tables import Spec

TRUST = ("model", "trust_remote_code")


def trusts(spec: Spec) -> bool:
    """Tell whether code that the spec's model ships may run here."""
    return spec.model.trust_remote_code and not is_forbidden()


def check_remote_code(source: Source, spec: Spec) -> None:
    """Refuse a model whose own code would run where that is switched off; raises FP177."""
    if spec.model.trust_remote_code and shipped_by(source.config) and is_forbidden():
        message = f"`{source.label}` would run code that it ships, which is switched off here"
        raise error_at_key(TRUST, "FP177", message, help=ADVICE)


def shipped_by(config: Mapping[str, Any] | None) -> dict[str, str]:
    """Return which class of the model's own code stands for each automatic class, ``{}`` for none.

    >>> shipped_by({"auto_map": {"AutoModel": "modeling.Own", "AutoTokenizer": ["a.B", None]}})
    {'AutoModel': 'modeling.Own'}
    """
    mapped = (config or {}).get("auto_map")
    found = mapped if isinstance(mapped, Mapping) else {}
    return {name: reference for name, reference in found.items() if isinstance(reference, str)}


def reference_of(name: str, shipped: Mapping[str, str]) -> str | None:
    """Return where the code of a class stands, by the class's own name or by the automatic one."""
    own = (reference for reference in shipped.values() if reference.rpartition(".")[2] == name)
    return shipped.get(name) or next(own, None)


def shipped_class(reference: str, source: Source, spec: Spec) -> Any:
    """Import a class that a source ships, of the revision that the spec pins; nobody is asked anything."""
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    options = {} if source.kind == "hub" else {"local_files_only": True}
    return get_class_from_dynamic_module(
        reference, place_of(source), revision=revision_of(source, spec), **options
    )


def place_of(source: Source) -> str | None:
    """Return what transformers calls the place of a source: its name on the hub, or its folder."""
    return source.repo or (str(source.folder) if source.folder else None)


def revision_of(source: Source, spec: Spec) -> str | None:
    """Return the revision that the spec pins; None where there are none."""
    return spec.model.revision if source.kind == "hub" else None
