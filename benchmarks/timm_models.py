"""Imports timm where torchvision is not installed, and builds its models on the meta device."""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from freezeplan.outside.quiet import quiet


class StandIn(ModuleType):
    """Stand for a module of torchvision, which timm imports at its top and its models do not use."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return NamedClass(name, (), {})


class NamedClass(type):
    """A class of torchvision's, whose attributes are their names."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return f"{cls.__name__}.{name}"


class StandInFinder(MetaPathFinder, Loader):
    """Find stand-ins for all modules of torchvision."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """Return a module of any name below torchvision."""
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] == "torchvision" else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the stand-in."""
        return StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: there is no code."""


def import_timm() -> Any:
    """Return timm, None where it is not installed; where torchvision is not, timm is given stand-ins for it."""
    if find_spec("timm") is None:
        return None
    if find_spec("torchvision") is not None:
        return importlib.import_module("timm")
    finder = StandInFinder()
    sys.meta_path.insert(0, finder)
    try:
        return importlib.import_module("timm")
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]


def meta_timm(name: str, **options: Any) -> Any:
    """Build one of timm's models on the meta device, without weights."""
    import torch

    timm = import_timm()
    with quiet(), torch.device("meta"):
        return timm.create_model(name, **options)


def families() -> list[str]:
    """Return the names of timm's families: its modules that hold models."""
    return import_timm().list_modules()


def sizes_of(family: str) -> list[str]:
    """Return the names of a family's models, sorted."""
    return import_timm().list_models(module=family)
