"""Reads what transformers says about the structure of a live model; other modules give no hints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from freezeplan.inventory.adapter_hints import with_adapters
from freezeplan.inventory.groupings import grouping_of, groups_of, undecayed_by
from freezeplan.inventory.growth import Growth, Rebuilder
from freezeplan.inventory.layer_counts import Count, as_count, counts_something
from freezeplan.inventory.loops import order_of_lists
from freezeplan.inventory.names import canonical_modules, canonical_parameters, is_a, join
from freezeplan.inventory.structure import Hints, OwnGroups, Tower, ancestors, is_under
from freezeplan.inventory.usage import only_read, order_of_use
from freezeplan.inventory.wrappers import with_parts


def hints_of(model: Any) -> Hints:
    """Return what is known of a live model beside its tree of modules."""
    found = list(canonical_modules(model))
    modules = [(path, module) for path, module, _ in found]
    names = _first_names(model)
    place, grouped = _grouped(modules)
    hints = Hints(
        input_embeddings=_input_embeddings(modules),
        towers=tuple(_towers(modules)),
        growths=_growths(modules),
        uses=order_of_use(modules),
        only_read=only_read(modules),
        grouping=grouping_of(grouped, names, place),
        undecayed=undecayed_by(grouped, names, place),
        loops=order_of_lists(modules),
        own_groups=tuple(_own_groups(found)),
    )
    return with_parts(with_adapters(hints, model, found), modules)


def _first_names(model: Any) -> list[str]:
    """Return each parameter tensor's first name, in registration order."""
    first: dict[int, str] = {}
    for name, _, tensor in canonical_parameters(model):
        first.setdefault(id(tensor), name)
    return list(first.values())


def _grouped(modules: list[tuple[str, Any]]) -> tuple[str, Any]:
    """Return the one model that groups its parameters itself, with its path; the root where none or several do."""
    found: dict[int, tuple[str, Any]] = {}
    for path, module in modules:
        inside = any(is_under(path, up) for up, _ in found.values())
        if callable(getattr(module, "group_matcher", None)) and not inside:
            found.setdefault(id(module), (path, module))
    return next(iter(found.values())) if len(found) == 1 else modules[0]


def _own_groups(modules: Iterable[tuple[str, Any, Any]]) -> Iterator[OwnGroups]:
    """Yield the blocks and stages of the outermost models that group their parameters themselves."""
    told: list[str] = []
    for path, module, outermost in modules:
        if callable(getattr(module, "group_matcher", None)) and not any(is_under(path, up) for up in told):
            told.append(path)
            fine, coarse = (
                groups_of(module, _first_names(outermost), coarse=coarse) for coarse in (False, True)
            )
            yield OwnGroups(path, _below(path, fine), _below(path, coarse))


def _below(path: str, groups: Iterable[Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(join(path, name) for name in group) for group in groups)


def _growths(
    modules: list[tuple[str, Any]],
) -> Callable[[Iterable[int], Mapping[int, int]], tuple[Growth, ...]] | None:
    """Return what asks the outermost models of transformers which lists their config values lengthen."""
    rebuilders: list[Rebuilder] = []
    for path, module in modules:
        if _is_pretrained(module) and not any(is_under(path, rebuilder.path) for rebuilder in rebuilders):
            rebuilders.append(Rebuilder(path, module))
    if not rebuilders:
        return None
    return lambda lengths, clear: tuple(
        growth for rebuilder in rebuilders for growth in rebuilder.growths(set(lengths), clear)
    )


def _is_pretrained(module: Any) -> bool:
    return is_a(module, "PreTrainedModel")


def _input_embeddings(modules: list[tuple[str, Any]]) -> tuple[str, ...]:
    by_id: dict[int, str] = {}
    for path, module in modules:
        by_id.setdefault(id(module), path)
    found = [_input_embedding(module) for _, module in modules if _is_pretrained(module)]
    return tuple(dict.fromkeys(by_id[id(item)] for item in found if id(item) in by_id))


def _input_embedding(module: Any) -> Any:
    try:
        return module.get_input_embeddings()
    except Exception:  # noqa: BLE001 - models without the accessor raise what they like
        return None


def _towers(modules: list[tuple[str, Any]]) -> Iterator[Tower]:
    """Yield the models inside the model, and plain modules that hold a config of their own."""
    configs: dict[str, int] = {}
    for path, module in modules:
        config = getattr(module, "config", None)
        if not hasattr(config, "to_diff_dict"):
            continue
        above = next((configs[up] for up in ancestors(path)[1:] if up in configs), None)
        if _is_pretrained(module) or id(config) != above:
            configs[path] = id(config)
            yield _tower(path, module)


def _tower(path: str, module: Any) -> Tower:
    recorded = (getattr(module, "_can_record_outputs", None) or {}).get("hidden_states")
    unsplit = getattr(module, "_no_split_modules", None) or ()
    return Tower(
        path,
        _counts(module.config),
        frozenset(unsplit),
        frozenset(_class_names(recorded)),
        id(module.config),
        _is_pretrained(module),
    )


def _class_names(recorded: Any) -> list[str]:
    entries = recorded if isinstance(recorded, (list, tuple)) else [recorded]
    classes = [getattr(item, "target_class", item) for item in entries]
    return [item.__name__ for item in classes if isinstance(item, type)]


def _counts(config: Any) -> dict[str, Count]:
    # A config file may hold anything where transformers keeps its own table of names.
    names = [name for name in (*getattr(config, "attribute_map", {}), *vars(config)) if isinstance(name, str)]
    found = {name: as_count(getattr(config, name, None)) for name in names if counts_something(name)}
    return {name: count for name, count in found.items() if count is not None}
