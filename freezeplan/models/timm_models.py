"""Models that timm builds: `source = "timm:NAME"`, its architecture, without network."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from freezeplan.diagnostics.wording import closest, first_line, quoted
from freezeplan.models.refusals import advice_for, causes_of
from freezeplan.models.resolve import Source
from freezeplan.outside.packages import TIMM
from freezeplan.outside.quiet import quiet
from freezeplan.spec.keys import SOURCE
from freezeplan.spec.locations import error_at_key

# Where timm's own settings of a model say that there are weights for it.
PLACES = ("url", "hf_hub_id", "file")


def build_timm(source: Source, dtype: Any) -> Any:
    """Build a model of timm on torch's present device; its weights are random, or absent on the meta device.

    Raises ``DiagnosticError``: FP184 where timm cannot be imported, FP185 for a name that it does not know, FP154 for
    what it raises while it builds.
    """
    timm = _imported()
    name = str((source.config or {})["architecture"])
    _check_known(timm, name)
    try:
        with quiet():
            return timm.create_model(name, pretrained=False).to(dtype)
    except Exception as error:
        message = f"timm cannot build `{name}`: {first_line(error)}"
        raise error_at_key(SOURCE, "FP154", message, help=advice_for(list(causes_of(error)))) from None


def has_weights(model: Any) -> bool:
    """Tell whether timm knows of weights for a model that it built; they hold all of its tensors."""
    settings = getattr(model, "pretrained_cfg", None) or {}
    return any(settings.get(place) for place in PLACES)


def _imported() -> ModuleType:
    try:
        with quiet():
            import timm
    except Exception as error:
        chain = list(causes_of(error))
        if isinstance(error, ModuleNotFoundError) and error.name == "timm":
            message = "timm is not installed"
        else:
            message = f"timm cannot be imported: {first_line(chain[-1])}"
        raise error_at_key(SOURCE, "FP184", message, help=advice_for(chain)) from None
    return timm


def _check_known(timm: Any, name: str) -> None:
    bare, _, tag = name.partition(".")
    if not timm.is_model(bare):
        advice = closest(bare, timm.list_models()) or "`timm.list_models()` lists all names"
        raise error_at_key(SOURCE, "FP185", f"timm knows no model `{bare}`", help=advice)
    known = [full.partition(".")[2] for full in timm.list_pretrained(f"{bare}.*")]
    if tag and tag not in known:
        advice = closest(tag, known) or (f"there are {quoted(known)}" if known else f"write `{TIMM}{bare}`")
        raise error_at_key(SOURCE, "FP185", f"timm knows no weights `{tag}` of `{bare}`", help=advice)
