"""Names without the prefixes that wrappers put in front of them, decided from the live modules."""

from __future__ import annotations

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
    ("BaseTuner", "peft", "model"),
    ("BaseTunerLayer", "peft", "base_layer"),
)


def wrapped_child(module: Any) -> str | None:
    """Return the name of the child that ``module`` only wraps, None when it is no wrapper.

    A wrapper is known by its class and package, so a model's own submodule called ``module`` is kept.
    """
    known = {(base.__name__, base.__module__.partition(".")[0]) for base in type(module).__mro__}
    for class_name, package, child in WRAPPERS:
        if (class_name, package) in known and child in module._modules:
            return child
    return None


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
    taken = {name for name, _ in first}
    rest = [(name, child) for name, child in module._modules.items() if child is not None and name != inner]
    return first + [(name, child) for name, child in rest if name not in taken]


def canonical_parameters(model: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield ``(name, module path, parameter)`` for every name of every parameter, in registration order.

    Tied parameters come once per name. Without wrappers the names and their order are exactly those of
    ``model.named_parameters(remove_duplicate=False)``.
    """
    for path, _, outermost in canonical_modules(model):
        for name, parameter in _own(outermost, "_parameters"):
            yield join(path, name), path, parameter


def own_buffers(outermost: Any) -> tuple[str, ...]:
    """Return the names of a module's own buffers, those of what it wraps first."""
    return tuple(name for name, _ in _own(outermost, "_buffers"))


def _own(module: Any, kind: str) -> list[tuple[str, Any]]:
    inner = wrapped_child(module)
    first = _own(module._modules[inner], kind) if inner is not None else []
    taken = {name for name, _ in first}
    own = [(name, value) for name, value in getattr(module, kind).items() if value is not None]
    return first + [(name, value) for name, value in own if name not in taken]


def class_names(module: Any) -> tuple[str, ...]:
    """Return the names of a module's class and of its bases, up to but without ``torch.nn.Module``.

    A bare ``torch.nn.Module`` has no other name, so it keeps that one.
    """
    names = [base.__name__ for base in type(module).__mro__]
    names = names[: names.index("Module")] if "Module" in names else names
    if "FSDPModule" in names:
        # fully_shard swaps the class for a generated one, FSDP<Name>, that adds FSDPModule as a base.
        names = [name for name in names[1:] if name != "FSDPModule"]
    return tuple(dict.fromkeys(names)) or ("Module",)
