"""Compares the inventory of one class with its row in a reference of architectures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.building import meta_model, within
from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.records import Inventory, ParamInfo
from freezeplan.inventory.structure import ancestors, is_under, parent, under_any

SECONDS = 60


@dataclass
class Verdict:
    """Hold how one class compares; ``found`` and ``missed`` tell per question, ``said`` what was flagged.

    The questions are ``stacks`` (every main stack of the reference), ``exact`` (no others), ``heads``,
    ``pooler``, ``recall`` and ``precision`` of embeddings. ``tensors`` and ``numel`` count the embeddings of
    the reference, ours, and both; ``matrices`` those that are no vectors. The reference lists tensors sized
    by an input (vocabulary, positions, channels) and what the accessor holds, so hardly any norm, bias or
    token; ``near`` counts also those that stand in or beside an embedding of the reference as in both, and
    ``precision`` asks for the rest.
    """

    model_type: str
    class_name: str
    flagged: bool
    error: str = ""
    missed: dict[str, list[str]] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    tensors: tuple[int, int, int] = (0, 0, 0)
    numel: tuple[int, int, int] = (0, 0, 0)
    matrices: tuple[int, int, int] = (0, 0, 0)
    near: tuple[int, int, int] = (0, 0, 0)

    def right(self, question: str) -> bool:
        """Whether the answer to a question is the reference's."""
        return not self.error and question not in self.missed


def compare(row: dict[str, Any]) -> Verdict:
    """Build the class of a row and compare what is found in it."""
    verdict = Verdict(row["model_type"], row["cls"], bool(row["ambiguous"]))
    try:
        found = within(SECONDS, lambda: inventory_of(meta_model(row["model_type"], row["cls"])))
    except Exception as error:  # noqa: BLE001 - any failure is a result of this comparison
        verdict.error = f"{type(error).__name__}: {error}"
        return verdict
    verdict.said = tuple(doubt.reason for doubt in found.doubts)
    _note_stacks(verdict, found, row)
    _note_roles(verdict, found, row)
    _note_embeddings(verdict, found, row)
    return verdict


def _note_stacks(verdict: Verdict, found: Inventory, row: dict[str, Any]) -> None:
    ours = _lists(found)
    rows = {item["path"]: item["length"] for item in row["stacks"]}
    main = {item["path"] for item in row["stacks"] if item["kind"] == "main"}
    missing = [f"{path} ({rows[path]})" for path in sorted(main) if ours.get(path) != rows[path]]
    extra = [f"{path} ({length})" for path, length in ours.items() if path not in rows]
    _note(verdict, "stacks", missing)
    _note(verdict, "exact", [*(f"-{item}" for item in missing), *(f"+{item}" for item in extra)])


def _lists(found: Inventory) -> dict[str, int]:
    """Return the module lists that hold the main layers: the inner lists of stages, each with its length."""
    lists: dict[str, int] = {}
    for stack in found.stacks:
        for layer in stack.layers if stack.main else ():
            lists[parent(layer)] = lists.get(parent(layer), 0) + 1
    return lists


def _note_roles(verdict: Verdict, found: Inventory, row: dict[str, Any]) -> None:
    wanted = {info.name for info in found.tensors if under_any(info.name, row["head_prefixes"])}
    _note_sets(verdict, "heads", wanted, {info.name for info in found.tensors if "heads" in info.roles})
    pooled = {info.name for info in found.tensors if {"pooler", "heads"} & info.roles}
    _note(verdict, "pooler", sorted(set(row["pooler"]) - pooled))


def _note_sets(verdict: Verdict, question: str, wanted: set[str], ours: set[str]) -> None:
    missing, extra = sorted(wanted - ours), sorted(ours - wanted)
    _note(verdict, question, [*(f"-{name}" for name in missing), *(f"+{name}" for name in extra)])


def _note_embeddings(verdict: Verdict, found: Inventory, row: dict[str, Any]) -> None:
    """Compare by tensor; a tied tensor counts as found under any of its names."""
    infos = {info.name: info for info in found.tensors}
    first = {info.name: info.alias_of or info.name for info in found.params}
    wanted = {first[name] for name in row["embedding_params"] if name in first}
    ours = {first[info.name] for info in found.params if "embeddings" in info.roles}
    near = _near([name for name in first if first[name] in wanted], found, row)
    _note(verdict, "recall", sorted(wanted - ours))
    _note(verdict, "precision", sorted(ours - wanted - near))
    groups = (wanted, ours, wanted & ours)
    verdict.tensors = tuple(len(group) for group in groups)
    verdict.numel = tuple(sum(infos[name].numel for name in group) for group in groups)
    verdict.matrices = tuple(sum(not _is_vector(infos[name]) for name in group) for group in groups)
    verdict.near = (len(wanted), len(ours), len(ours & (wanted | near)))


def _near(names: Iterable[str], found: Inventory, row: dict[str, Any]) -> set[str]:
    """Return the tensors that a reference which lists no norms, biases and tokens leaves open.

    Those are all tensors in the modules made of embeddings (the widest around a listed tensor that hold no
    stack and no head of the reference), and the vectors that stand directly beside such a module.
    """
    closed = [stack["path"] for stack in (*row["stacks"], *row["aux_stacks"])] + row["head_prefixes"]
    homes = {_home(name, closed) for name in names}
    around = {parent(home) for home in homes}
    return {
        info.alias_of or info.name
        for info in found.params
        if under_any(info.name, homes)
        or (_is_vector(info) and not around.isdisjoint((parent(info.name), parent(parent(info.name)))))
    }


def _home(name: str, closed: list[str]) -> str:
    home = name
    for path in ancestors(parent(name)):
        if not path or any(is_under(other, path) for other in closed):
            return home
        home = path
    return home


def _is_vector(info: ParamInfo) -> bool:
    return max(info.shape, default=1) == info.numel


def _note(verdict: Verdict, question: str, problems: list[str]) -> None:
    if problems:
        verdict.missed[question] = problems
