"""What a peer sees of a model: the names of its tensors and modules, as ``named_parameters`` gives them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from freezeplan.inventory.records import Inventory, ParamInfo


@dataclass(frozen=True)
class ModelNames:
    """A model's names, each with a prefix where the peer keeps the model inside of another module.

    ``config`` is the model's config, as far as it is known.
    """

    inventory: Inventory
    prefix: str = ""
    config: Mapping[str, Any] | None = None

    @cached_property
    def tensors(self) -> dict[str, ParamInfo]:
        """The first name of each tensor, in the order of the model, with its record."""
        return {self.prefix + info.name: info for info in self.inventory.tensors}

    @cached_property
    def first_names(self) -> dict[str, str]:
        """Every name of every tensor, with the tensor's first name."""
        return {
            self.prefix + info.name: self.prefix + (info.alias_of or info.name)
            for info in self.inventory.params
        }

    @cached_property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """The class of each module and its bases, by path."""
        return {self._path(module.path): module.classes for module in self.inventory.modules}

    def below(self, module: str) -> frozenset[str]:
        """Return the first names of the tensors at or below a module, tied ones by any of their names."""
        inside = f"{module}." if module else ""
        return frozenset(first for name, first in self.first_names.items() if name.startswith(inside))

    def classes_of(self, name: str) -> tuple[str, ...]:
        """Return the classes of the module that holds a tensor."""
        return self.classes.get(name.rpartition(".")[0], ())

    def own(self, names: Iterable[str]) -> list[str]:
        """Return names as the model itself has them, without the prefix, in its order."""
        wanted = set(names)
        return [info.name for name, info in self.tensors.items() if name in wanted]

    def _path(self, path: str) -> str:
        return self.prefix + path if path else self.prefix.removesuffix(".")
