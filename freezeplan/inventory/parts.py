"""The parts of a model found so far, and what can be asked about the modules around its stacks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from freezeplan.inventory.biases import is_vector
from freezeplan.inventory.records import Doubt, Stack
from freezeplan.inventory.structure import Hints, Tree, ancestors, is_under, last, parent

TORCH_NORMS = ("LayerNorm", "RMSNorm", "GroupNorm", "_NormBase")
AXES = frozenset({"LayerNorm", "RMSNorm"})


@dataclass(frozen=True)
class Parts:
    """Hold the tree together with the parts found so far, each as module or parameter paths."""

    tree: Tree
    hints: Hints
    base: str
    stacks: tuple[Stack, ...]
    doubts: tuple[Doubt, ...] = ()
    heads: tuple[str, ...] = ()
    pooler: tuple[str, ...] = ()
    final_norm: tuple[str, ...] = ()

    @cached_property
    def order(self) -> dict[str, int]:
        """The place of each module in registration order."""
        return {info.path: place for place, info in enumerate(self.tree.modules)}

    @property
    def main(self) -> tuple[Stack, ...]:
        """The main stacks."""
        return tuple(stack for stack in self.stacks if stack.main)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The paths of adapters that stand beside the model, as encoders of prompts do."""
        return tuple(path for path in self.hints.adapters if is_under(self.hints.root, parent(path)))

    @property
    def layers(self) -> tuple[str, ...]:
        """The paths of all layers of the main stacks."""
        return tuple(path for stack in self.main for span in stack.spans for path in span)


def levels(parts: Parts, stack: Stack) -> Iterable[tuple[list[str], str, list[str]]]:
    """Yield, from the stack up to its tower's root, the siblings before and after the way to the stack.

    The first level is that of its stages, or layers, themselves: a stem may stand in one list with them.
    """
    yield from _beside_units(parts, stack)
    others = [other.path for other in parts.stacks if other.main and other.path != stack.path]
    for inside in ancestors(stack.path):
        up = parent(inside)
        if not inside or not is_under(up, parts.base) or any(is_under(other, inside) for other in others):
            return
        siblings = parts.tree.children[up]
        place = siblings.index(inside)
        alone = not any(is_under(other, up) for other in others)
        if alone:
            yield list(siblings[:place]), inside, list(siblings[place + 1 :])


def _beside_units(parts: Parts, stack: Stack) -> Iterable[tuple[list[str], str, list[str]]]:
    """Yield what stands before the first and after the last stage or layer of a stack, in one module with them."""
    taken = {up for paths in (*stack.stages, *stack.spans) for path in paths for up in ancestors(path)}
    siblings = parts.tree.children.get(stack.path, ())
    places = [place for place, child in enumerate(siblings) if child in taken]
    others = [other for other in parts.stacks if other.main and other.path != stack.path]
    alone = not any(is_under(other.path, stack.path) for other in others)
    if places and alone and is_under(stack.path, parts.base):
        yield list(siblings[: places[0]]), siblings[places[0]], []
        yield [], siblings[places[-1]], list(siblings[places[-1] + 1 :])


def uses_of(parts: Parts, *siblings: str) -> list[tuple[int, int] | None]:
    """Return where the code around some siblings names each of them first and last, None where it does not."""
    uses = parts.hints.uses(parent(siblings[0])) if parts.hints.uses else {}
    return [uses.get(last(path)) for path in siblings]


def runs_after(parts: Parts, inside: str, norm: str, registered_after: bool) -> bool:
    """Tell whether a module runs after its sibling: by the code that runs both, else by registration and name."""
    first, second = uses_of(parts, inside, norm)
    if first and second:
        return second[1] > first[0]
    return ("emb" not in last(norm).lower()) if registered_after else "final" in last(norm)


def is_norm(tree: Tree, path: str) -> bool:
    """Tell whether a module is a normalisation: by class, holding only vectors of its own.

    Axes to broadcast along do not count, and torch's own LayerNorm may span several axes.
    """
    own = tree.own.get(path, ())
    names = tree.classes(path)
    if not own or not (all(is_vector(info.shape) for info in own) or AXES.intersection(names)):
        return False
    if not names:
        name = last(path)
        return "norm" in name.lower() or name.startswith("ln_") or _has_statistics(tree, path)
    return any(name in TORCH_NORMS or "norm" in name.lower() or name.endswith("GRN") for name in names)


def _has_statistics(tree: Tree, path: str) -> bool:
    info = tree.by_path.get(path)
    return info is not None and "running_mean" in info.buffers


def is_norm_only(tree: Tree, path: str) -> bool:
    """Tell whether a module is a normalisation and holds nothing but vectors."""
    return is_norm(tree, path) and all(
        is_vector(info.shape) or info in tree.own[path] for info in tree.below(path)
    )


def is_embedding(tree: Tree, path: str) -> bool:
    """Tell whether a module looks up or computes embeddings: by class, or by name where no class is known."""
    if not path or not tree.below(path):
        return False
    names = tree.classes(path) or (last(path),)
    return any("embed" in name.lower() for name in names) or (
        not tree.classes(path) and last(path) in ("wte", "wpe")
    )
