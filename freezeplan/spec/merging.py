"""Merge a spec over the one it extends."""

from __future__ import annotations

from freezeplan.spec.tree import SpecNode

NAMED_ARRAYS = frozenset({"rule", "task", "phase"})


def merge(base: SpecNode, own: SpecNode) -> SpecNode:
    """Return ``own`` laid over ``base``, each value keeping the place it was written at.

    Tables merge key by key; an optimizer that ``own`` chooses takes the place of the base's, by ``name`` or by
    ``class``, and of what its constructor was given. Entries of ``rule``, ``task`` and ``phase`` are appended, the
    base's first; an entry whose ``name`` the base has takes that entry's place, whole. All other values replace.
    """
    return _merge(base, own, is_root=True)


def _merge(base: SpecNode, own: SpecNode, *, is_root: bool) -> SpecNode:
    if not (isinstance(base.value, dict) and isinstance(own.value, dict)):
        return own
    merged = {key: node for key, node in base.value.items() if key not in _given_up(own)}
    for key, node in own.value.items():
        if key not in merged:
            merged[key] = node
        elif is_root and key in NAMED_ARRAYS:
            merged[key] = _append(merged[key], node)
        else:
            merged[key] = _merge(merged[key], node, is_root=False)
    return SpecNode(merged, own.place)


def _given_up(own: SpecNode) -> frozenset[str]:
    """Return the keys of a base's table that belong to the optimizer which the own table has another for."""
    chosen = {"name", "class"}.intersection(own.value)
    return frozenset({"name", "class", "options"} if chosen else ())


def _append(base: SpecNode, own: SpecNode) -> SpecNode:
    if not (isinstance(base.value, list) and isinstance(own.value, list)):
        return own
    entries = list(base.value)
    positions = {_name(entry): index for index, entry in reversed(list(enumerate(entries)))}
    for entry in own.value:
        # Popped, so that a name written twice in one file stays twice and is reported.
        index = positions.pop(_name(entry), None) if _name(entry) is not None else None
        if index is None:
            entries.append(entry)
        else:
            entries[index] = entry
    return SpecNode(entries, own.place)


def _name(entry: SpecNode) -> str | None:
    name = entry.value.get("name") if isinstance(entry.value, dict) else None
    return name.value if name is not None and isinstance(name.value, str) else None
