"""Says why transformers refused to make a config or to build a model, and what can be done about it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from freezeplan.diagnostics import DiagnosticError
from freezeplan.diagnostics.wording import first_line
from freezeplan.models.resolve import Source
from freezeplan.outside.memory import is_out_of_memory
from freezeplan.spec.locations import error_at_key

NETWORK = frozenset({"OfflineModeIsEnabled", "ConnectError", "ConnectTimeout", "ConnectionError", "gaierror"})
VISION = "torchvision"


def refused(source: Source, error: Exception) -> DiagnosticError:
    """Return the diagnostic for what transformers raised while it made a config or built a model.

    FP154 with advice by the cause: a library that is missing or does not fit, or a value of the config. FP156
    where transformers wanted to ask the hub, FP504 where memory ran out. The first cause is told where the last
    error does not name it.
    """
    chain = list(causes_of(error))
    cause = chain[-1]
    if any(map(is_out_of_memory, chain)):
        return too_large(source)
    if any(type(item).__name__ in NETWORK for item in chain):
        return _unreachable(source)
    message = f"transformers cannot build `{source.label}`: {first_line(error)}"
    told = first_line(cause) in message
    notes = [] if told else [f"the cause: {first_line(cause)} ({type(cause).__name__})"]
    return error_at_key(source.config_at, "FP154", message, help=advice_for(chain), notes=notes)


def too_large(source: Source) -> DiagnosticError:
    """Return FP504: the weights of a source do not fit into this machine's memory."""
    message = f"this machine has too little memory for the weights of `{source.label}`"
    advice = "free memory, name a smaller model, or hold it in half the space with `dtype`"
    return error_at_key(source.config_at, "FP504", message, help=advice)


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what it was raised from, the first cause last."""
    seen: set[int] = set()
    todo: BaseException | None = error
    while todo is not None and id(todo) not in seen:
        seen.add(id(todo))
        yield todo
        todo = todo.__cause__ or (None if todo.__suppress_context__ else todo.__context__)


def advice_for(chain: list[BaseException]) -> str:
    """Return what can be done where a library failed, by the exceptions that led to it, the first cause last."""
    if any(VISION in str(item) for item in chain):
        found = ", ".join(f"{name} {_version(name)}" for name in ("torch", VISION))
        return f"install the release of torchvision that is made for this torch{_or_none(chain)} (found: {found})"
    missing = [item.name for item in chain if isinstance(item, ModuleNotFoundError) and item.name]
    if missing:
        return f"install what is missing: `{missing[-1]}`"
    if any(isinstance(item, ImportError) for item in chain):
        return "the installed libraries do not fit each other: install releases that do"
    return "correct the value in the model's config"


def _or_none(chain: list[BaseException]) -> str:
    """Return `, or none` where a library works without torchvision: what asks for it by name does not."""
    names = [(item.name or "").partition(".")[0] for item in chain if isinstance(item, ModuleNotFoundError)]
    return "" if VISION in names else ", or none"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _unreachable(source: Source) -> DiagnosticError:
    backbone: Any = (source.config or {}).get("backbone")
    what = f"about the backbone `{backbone}` of `{source.label}`" if backbone else f"about `{source.label}`"
    message = f"transformers asks the hub {what}, and the hub cannot be reached"
    advice = "run it where there is a network"
    if backbone:
        advice += f", or write it as `backbone_config`: model_type `timm_backbone`, backbone `{backbone}`"
    return error_at_key(source.config_at, "FP156", message, help=advice)
