"""Makes the inventory of any live ``torch.nn.Module``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import counted
from freezeplan.inventory.as_made import needs_gradient_as_made
from freezeplan.inventory.hints import hints_of
from freezeplan.inventory.identity import named_parameters
from freezeplan.inventory.names import canonical_modules, canonical_parameters, class_names, join, own_buffers
from freezeplan.inventory.quantized import quantized_as
from freezeplan.inventory.records import FIXED, RECURRENT, Inventory, ModuleInfo, ParamInfo
from freezeplan.inventory.roles import with_structure
from freezeplan.inventory.running_order import runs_before
from freezeplan.inventory.structure import ancestors

Loaded = Callable[[str], bool | None]


TABLES = frozenset(["Embedding", "EmbeddingBag"])


def inventory_of(
    model: Any,
    label: str = "",
    *,
    origin: str = "a model in memory",
    loaded: Loaded | None = None,
    notes: Iterable[str] = (),
    quantized: Mapping[str, str] | None = None,
) -> Inventory:
    """List every parameter name, module, tie, stack and role of a live model.

    ``model`` is any ``torch.nn.Module``; prefixes of wrappers (DDP, FSDP, torch.compile, activation
    checkpointing, PEFT) and of parametrizations are taken off the names. ``label`` says in words which model
    this is (default: its class). ``loaded`` tells for a parameter's name whether a checkpoint provides it
    (default: not known). ``quantized`` names parameters that will be packed once they are loaded, and how.

    Returns an :class:`Inventory` whose ``params`` are in registration order, tied tensors once per name.
    Raises ``DiagnosticError`` for a model without parameters (FP166), with uninitialised ones (FP167) or with
    flattened ones (FP174), ``TypeError`` for what is no module.

    >>> import torch
    >>> [info.name for info in inventory_of(torch.nn.Linear(2, 3)).params]
    ['weight', 'bias']
    """
    if not hasattr(model, "_parameters") or isinstance(model, type):
        what = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        raise TypeError(f"a model is a torch.nn.Module (or an Inventory), not {what}")
    found = list(canonical_modules(model))
    packed = _packed(found) | dict(quantized or {})
    params = _with_sparse(_params(model, loaded or (lambda name: None), packed), found)
    modules = tuple(_modules(found))
    label = label or modules[0].classes[0]
    if not params:
        raise DiagnosticError([_empty(label)])
    bare = Inventory(label, params, modules, origin=origin, notes=tuple(notes))
    return with_structure(bare, hints_of(model))


def _modules(found: Sequence[tuple[str, Any, Any]]) -> Iterator[ModuleInfo]:
    """Yield the modules, parents first: where a child's name holds a dot, its parts stand for modules too."""
    known: set[str] = set()
    for path, module, outermost in found:
        for up in reversed(ancestors(path)[1:]):
            if up not in known:
                known.add(up)
                yield ModuleInfo(up, ("Module",))
        known.add(path)
        names = class_names(module)
        before = runs_before(path, found) if RECURRENT in names else ()
        yield ModuleInfo(path, names, own_buffers(outermost), _max_norm(module), before)


def _max_norm(module: Any) -> float | None:
    wanted = getattr(module, "max_norm", None) if class_names(module)[-1].startswith("Embedding") else None
    return float(wanted) if wanted is not None else None


def _with_sparse(
    params: tuple[ParamInfo, ...], modules: Iterable[tuple[str, Any, Any]]
) -> tuple[ParamInfo, ...]:
    """Mark the tables of embeddings whose gradient is sparse; one that is tied to anything else gets a dense one."""
    own = {join(path, "weight") for path, module, _ in modules if _gives_sparse(module)}
    dense = {info.alias_of or info.name for info in params if info.name not in own}
    return tuple(
        replace(info, sparse=(info.alias_of or info.name) not in dense) if info.name in own else info
        for info in params
    )


def _gives_sparse(module: Any) -> bool:
    return bool(TABLES.intersection(class_names(module)) and getattr(module, "sparse", False) is True)


def _packed(modules: Iterable[tuple[str, Any, Any]]) -> dict[str, str]:
    """Return how the quantised parameters of a live model are packed, by their names."""
    own = ((path, name, tensor, module) for path, module, _ in modules for name, tensor in _own(module))
    found = {join(path, name): quantized_as(name, tensor, module) for path, name, tensor, module in own}
    return {name: packed for name, packed in found.items() if packed}


def _own(module: Any) -> Iterable[tuple[str, Any]]:
    return ((name, tensor) for name, tensor in module._parameters.items() if tensor is not None)


def _params(model: Any, loaded: Loaded, packed: Mapping[str, str]) -> tuple[ParamInfo, ...]:
    first: dict[int, str] = {}
    found, lazy = [], []
    named_parameters(model)
    for name, module, tensor in canonical_parameters(model):
        if getattr(tensor, "_is_flat_param", False):
            raise DiagnosticError([_flattened(name)])
        if type(tensor).__name__ == "UninitializedParameter":
            lazy.append(name)
            continue
        alias_of = first.get(id(tensor))
        first.setdefault(id(tensor), name)
        dtype = str(tensor.dtype).removeprefix("torch.")
        shape, known = tuple(tensor.shape), loaded(name)
        how = packed.get(name)
        held = None if how or tensor.requires_grad or not _takes_gradient(tensor) else _fixed(tensor)
        found.append(ParamInfo(name, shape, dtype, module, alias_of, loaded=known, quantized=how, held=held))
    if lazy:
        raise DiagnosticError([_uninitialised(lazy)])
    return _shared_loaded(found)


def _takes_gradient(tensor: Any) -> bool:
    return bool(tensor.is_floating_point() or tensor.is_complex())


def _fixed(tensor: Any) -> str | None:
    return None if needs_gradient_as_made(tensor) else FIXED


def _shared_loaded(found: list[ParamInfo]) -> tuple[ParamInfo, ...]:
    """Take a tied tensor for loaded under all its names when a checkpoint provides it under one."""
    provided = {info.alias_of or info.name for info in found if info.loaded}
    return tuple(
        replace(info, loaded=True) if (info.alias_of or info.name) in provided else info for info in found
    )


def _empty(label: str) -> Diagnostic:
    return diagnostic(
        "FP166", f"`{label}` has no parameters", help="there is nothing to freeze or train in it"
    )


def _uninitialised(names: list[str]) -> Diagnostic:
    return diagnostic(
        "FP167",
        f"{counted(len(names), 'parameter')} {'has' if len(names) == 1 else 'have'} no shape yet, `{names[0]}` first",
        help="run one batch through the model so that its lazy modules take their shapes, then try again",
        notes=[f"`{name}` is uninitialised" for name in names[1:10]],
    )


def _flattened(name: str) -> Diagnostic:
    return diagnostic(
        "FP174",
        f"FSDP has flattened parameters into one: `{name}`",
        help="wrap with `fully_shard`, which keeps them, or pass `use_orig_params=True`",
    )
