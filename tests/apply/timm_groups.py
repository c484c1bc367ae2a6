"""timm's own grouping function and schedulers, from the installed package and unchanged."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

PACKAGES = ("timm", "timm.layers", "timm.models", "timm.optim")


def param_groups_layer_decay() -> Callable | None:
    """Return timm's function of this name, None when timm is not installed.

    Installed without its dependencies, timm cannot be imported: its packages import torchvision at their
    top. The function's own file does not; so its packages are then stood in for by empty ones, in which
    timm's files are loaded as they are, and which are taken away again.
    """
    spec = importlib.util.find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        return None
    if importlib.util.find_spec("torchvision") is not None:
        return importlib.import_module("timm.optim").param_groups_layer_decay
    with _empty_packages(Path(spec.submodule_search_locations[0])):
        layers, models = sys.modules["timm.layers"], sys.modules["timm.models"]
        layers.use_reentrant_ckpt = importlib.import_module("timm.layers.config").use_reentrant_ckpt
        models.group_parameters = importlib.import_module("timm.models._manipulate").group_parameters
        return importlib.import_module("timm.optim._param_groups").param_groups_layer_decay


def timm_schedulers() -> dict[str, ModuleType]:
    """Return timm's modules of schedulers by name, empty when timm is not installed; none stays imported."""
    spec = importlib.util.find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        return {}
    with _empty_packages(Path(spec.submodule_search_locations[0])):
        importlib.import_module("timm.scheduler")
        return {name: module for name, module in sys.modules.items() if name.startswith("timm.scheduler")}


@contextmanager
def _empty_packages(folder: Path) -> Iterator[None]:
    before = {name: module for name, module in sys.modules.items() if _is_timm(name)}
    try:
        for name in before:
            del sys.modules[name]
        for name in PACKAGES:
            package = ModuleType(name)
            package.__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
            sys.modules[name] = package
        yield
    finally:
        for name in [name for name in sys.modules if _is_timm(name)]:
            del sys.modules[name]
        sys.modules.update(before)


def _is_timm(name: str) -> bool:
    return name == "timm" or name.startswith("timm.")
