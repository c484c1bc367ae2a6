"""Reads what PEFT says about a live model: what it added, which adapters are in use, what it saves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from freezeplan.inventory.adapter_saving import saved_embeddings
from freezeplan.inventory.names import added, is_a, join, of_package, wrapped_child
from freezeplan.inventory.structure import Hints

PEFT = "peft"


def with_adapters(hints: Hints, model: Any, found: Iterable[tuple[str, Any, Any]]) -> Hints:
    """Return the hints with what PEFT added to a model, whose modules ``found`` holds as they are walked."""
    tuners = [
        module for module in model.modules() if of_package(module, PEFT) and hasattr(module, "peft_config")
    ]
    found = list(found)
    return replace(
        hints,
        adapters=tuple(dict.fromkeys(path for item in found for path in _adapters(*item))),
        originals=tuple(path for path, module, outer in found if _has_copy(module, outer)),
        inactive=frozenset().union(*(_inactive(tuner) for tuner in tuners)),
        adapter_bias=any(_thaws_bias(tuner) for tuner in tuners),
        adapters_only=_saves_adapters_only(model),
        saved=_names_of(found, frozenset().union(*(saved_embeddings(tuner) for tuner in tuners))),
    )


def _names_of(found: Iterable[tuple[str, Any, Any]], tensors: frozenset[int]) -> frozenset[str]:
    own = ((path, name, tensor) for path, module, _ in found for name, tensor in module._parameters.items())
    return frozenset(join(path, name) for path, name, tensor in own if id(tensor) in tensors)


def _adapters(path: str, module: Any, outermost: Any) -> list[str]:
    """Return the modules and parameters that PEFT's wrappers around ``module`` added."""
    names: list[str] = []
    while outermost is not module:
        if of_package(outermost, PEFT):
            names += [name for kind in ("_modules", "_parameters") for name, _ in added(outermost, kind)]
        outermost = outermost._modules[wrapped_child(outermost)]
    return [join(path, name) for name in names]


def _has_copy(module: Any, outermost: Any) -> bool:
    """Tell whether PEFT trains, and runs, a copy in place of a module."""
    while outermost is not module:
        if is_a(outermost, "ModulesToSaveWrapper"):
            return True
        outermost = outermost._modules[wrapped_child(outermost)]
    return False


def _tuners(model: Any) -> list[Any]:
    return [
        module for module in model.modules() if of_package(module, "peft") and hasattr(module, "peft_config")
    ]


def _inactive(tuner: Any) -> frozenset[str]:
    """Return the names of the adapters that are loaded and not in use."""
    active = getattr(tuner, "active_adapters", None)
    if not isinstance(tuner.peft_config, Mapping) or not isinstance(active, (list, tuple)):
        return frozenset()
    return frozenset(tuner.peft_config) - frozenset(active)


def _thaws_bias(tuner: Any) -> bool:
    configs = tuner.peft_config.values() if isinstance(tuner.peft_config, Mapping) else ()
    return any(getattr(config, "bias", "none") not in ("none", None, False) for config in configs)


def _saves_adapters_only(model: Any) -> bool:
    """Tell whether ``save_pretrained`` writes adapters alone: PEFT's own, or transformers' where it holds some."""
    return any(
        is_a(module, "PeftModel")
        or is_a(module, "PeftMixedModel")
        or getattr(module, "_hf_peft_config_loaded", False)
        for module in model.modules()
    )
