"""Names without the prefixes that wrappers put in front of them, decided from the live modules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

# Class of a wrapper, the package it comes from, and the child that holds what it wraps.
WRAPPERS = (
    ("DistributedDataParallel", "torch", "module"),
    ("DataParallel", "torch", "module"),
    ("AveragedModel", "torch", "module"),
    ("OptimizedModule", "torch", "_orig_mod"),
    ("FullyShardedDataParallel", "torch", "_fsdp_wrapped_module"),
    ("ActivationWrapper", "torch", "_checkpoint_wrapped_module"),
    ("DeepSpeedEngine", "deepspeed", "module"),
    ("PeftModel", "peft", "base_model"),
    ("PeftMixedModel", "peft", "base_model"),
    ("XLoraModel", "peft", "lora_model"),
    ("AdaptionPromptModel", "peft", "model"),
    ("_BaseAdaptedAttention", "peft", "model"),
    ("BaseTuner", "peft", "model"),
    ("BaseTunerLayer", "peft", "base_layer"),
    ("TrainableTokensWrapper", "peft", "token_adapter"),
    ("AuxiliaryTrainingWrapper", "peft", "original_module"),
)
# How torch names a parametrized tensor: `original`, or `original0`, `original1` … where it is made of several.
PARAMETRIZED = re.compile(r"(?:(?P<owner>.+)\.)?parametrizations\.(?P<tensor>[^.]+)\.(?P<part>original\d*)")


def wrapped_child(module: Any) -> str | None:
    """Return the name of the child that ``module`` only wraps, None when it is no wrapper.

    A wrapper is known by its class and package, so a model's own submodule called ``module`` is kept.
    """
    known = {(base.__name__, base.__module__.partition(".")[0]) for base in type(module).__mro__}
    for class_name, package, child in WRAPPERS:
        if (class_name, package) in known and module._modules.get(child) is not None:
            return child
    return None


def is_a(module: Any, class_name: str) -> bool:
    """Tell whether a module's class, or one of its bases, has a name; no library has to be imported for it."""
    return any(base.__name__ == class_name for base in type(module).__mro__)


def of_package(module: Any, package: str) -> bool:
    """Tell whether a module's own class comes from a package."""
    return type(module).__module__.partition(".")[0] == package


def unwrapped(module: Any) -> Any:
    """Return the module inside all wrappers around it (itself when there are none)."""
    while (child := wrapped_child(module)) is not None:
        module = module._modules[child]
    return module


def join(path: str, name: str) -> str:
    """Join a module path and a name; the root's path is empty."""
    return f"{path}.{name}" if path else name


def canonical_modules(model: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield ``(path, module, outermost)`` for every module in registration order, parents first.

    ``path`` has no wrapper prefixes; a module registered twice comes twice. ``module`` is what stands
    inside the wrappers at that path and ``outermost`` the first wrapper (the module itself without any).
    """
    yield from _walk("", model, frozenset())


def _walk(path: str, outermost: Any, above: frozenset[int]) -> Iterator[tuple[str, Any, Any]]:
    yield path, unwrapped(outermost), outermost
    above = above | {id(outermost)}
    for name, child in _children(outermost):
        if id(child) not in above:
            yield from _walk(join(path, name), child, above)


def _children(module: Any) -> list[tuple[str, Any]]:
    inner = wrapped_child(module)
    first = _children(module._modules[inner]) if inner is not None else []
    return first + [(name, child) for name, child in added(module, "_modules") if child is not None]


def added(module: Any, kind: str) -> Iterator[tuple[str, Any]]:
    """Yield what a wrapper holds beside what it wraps, all that any other module holds, each by its name.

    ``kind`` is ``_modules``, ``_parameters`` or ``_buffers``. A wrapper that adapts one tensor of a module puts that
    tensor's name in front: PEFT nests one for each tensor, and their children are called alike.
    """
    inner = wrapped_child(module)
    adapted = getattr(module, "parameter_name", None) if inner == "base_layer" else None
    # For prompts PEFT's model keeps a second reference to the embedding inside the model that it wraps.
    left_out = (inner, "word_embeddings") if inner == "base_model" else (inner,)
    for name, value in getattr(module, kind).items():
        if name not in left_out or inner is None:
            yield join(adapted, name) if adapted else name, value


def canonical_parameters(model: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield ``(name, module path, parameter)`` for every name of every parameter, in registration order.

    Tied parameters come once per name. Without wrappers and parametrizations the names and their order are
    exactly those of ``model.named_parameters(remove_duplicate=False)``.
    """
    for path, module, outermost in canonical_modules(model):
        rename = type(module).__name__ == "ParametrizationList"
        for name, parameter in _own(outermost, "_parameters"):
            if rename:
                yield *without_parametrization(join(path, name), path), parameter
            else:
                yield join(path, name), path, parameter


def without_parametrization(name: str, path: str) -> tuple[str, str]:
    """Return the name and the module path of a tensor as they are without torch's parametrization of it.

    >>> without_parametrization("fc.parametrizations.weight.original", "fc.parametrizations.weight")
    ('fc.weight', 'fc')
    >>> without_parametrization("fc.parametrizations.weight.original0", "fc.parametrizations.weight")
    ('fc.weight.original0', 'fc')
    >>> without_parametrization("fc.bias", "fc")
    ('fc.bias', 'fc')
    """
    found = PARAMETRIZED.fullmatch(name)
    if found is None:
        return name, path
    owner, tensor, part = found["owner"] or "", found["tensor"], found["part"]
    return join(owner, tensor if part == "original" else f"{tensor}.{part}"), owner


def own_buffers(outermost: Any) -> tuple[str, ...]:
    """Return the names of a module's own buffers, those of what it wraps first."""
    return tuple(name for name, _ in _own(outermost, "_buffers"))


def _own(module: Any, kind: str) -> list[tuple[str, Any]]:
    inner = wrapped_child(module)
    first = _own(module._modules[inner], kind) if inner is not None else []
    return first + [(name, value) for name, value in added(module, kind) if value is not None]


def class_names(module: Any) -> tuple[str, ...]:
    """Return the names of a module's class and of its bases, up to but without ``torch.nn.Module``.

    A bare ``torch.nn.Module`` has no other name, so it keeps that one.
    """
    names = [base.__name__ for base in type(module).__mro__]
    names = names[: names.index("Module")] if "Module" in names else names
    if "FSDPModule" in names:
        # fully_shard swaps the class for a generated one, FSDP<Name>, that adds FSDPModule as a base.
        names = [name for name in names[1:] if name != "FSDPModule"]
    if names and names[0].startswith("Parametrized") and "parametrizations" in module._modules:
        names = names[1:]
    return tuple(dict.fromkeys(names)) or ("Module",)
