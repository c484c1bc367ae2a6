"""Code that a model ships: it runs where the spec says so, and nowhere where that is switched off."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from freezeplan.models.resolve import Source
from freezeplan.spec.locations import error_at_key
from freezeplan.spec.tables import Spec

SETTING = "FREEZEPLAN_REMOTE_CODE"
OFF = ("0", "off", "no", "false")
TRUST = ("model", "trust_remote_code")

_forbidden: ContextVar[bool] = ContextVar("_forbidden", default=False)


@contextmanager
def no_remote_code() -> Iterator[None]:
    """Run no code that a model ships inside the block, whatever a spec says."""
    token = _forbidden.set(True)
    try:
        yield
    finally:
        _forbidden.reset(token)


def trusts(spec: Spec) -> bool:
    """Tell whether code that the spec's model ships may run here."""
    return spec.model.trust_remote_code and not _is_forbidden()


def _is_forbidden() -> bool:
    return _forbidden.get() or os.environ.get(SETTING, "").strip().lower() in OFF


def check_remote_code(source: Source, spec: Spec) -> None:
    """Refuse a model whose own code would run where that is switched off; raises FP177."""
    if spec.model.trust_remote_code and shipped_by(source.config) and _is_forbidden():
        message = f"`{source.label}` would run code that it ships, which is switched off here"
        advice = f"read that code, then run this without `--no-remote-code` and without `{SETTING}=off`"
        raise error_at_key(TRUST, "FP177", message, help=advice)


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
