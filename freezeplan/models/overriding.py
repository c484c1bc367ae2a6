"""Puts another model in the place of a spec's own: one spec, many models."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from freezeplan.diagnostics.wording import closest
from freezeplan.outside import hub
from freezeplan.outside.packages import PREFIX, TIMM
from freezeplan.spec.keys import ARCHITECTURE, CONFIG, SOURCE
from freezeplan.spec.locations import KeyPath, Locations, Place
from freezeplan.spec.tables import ModelTable, Spec

# As transformers registers a model type: ("bert", "BertConfig") or "bert": "BertConfig".
REGISTERED = re.compile(r'"([\w.-]+)"\s*[,:]\s*"\w+Config"')
REPLACED: tuple[KeyPath, ...] = (SOURCE, ARCHITECTURE, CONFIG)


def with_model(spec: Spec, model: str, directory: Path | None = None) -> Spec:
    """Return the spec with another model: ``[model]`` keeps its class, pooling and number formats.

    ``model`` is anything that ``source`` or ``architecture`` take: a path, ``package:NAME/SUBDIR``, ``timm:NAME``,
    the name of a model on the hub, a model type, a config.json. A bare name is the model of that name in the local
    cache of the hub, else the model type, else a name on the hub. Relative paths start at ``directory`` (default: the
    current one). The revision, and the trust in remote code, were given to the spec's own model and are dropped.
    """
    table = _table(model, directory or Path())
    own = spec.model
    kept = {"class_": own.class_, "pooling": own.pooling, "dtype": own.dtype}
    kept["frozen_dtype"] = own.frozen_dtype
    table = table.model_copy(update=kept)
    return spec.model_copy(update={"model": table}).with_locations(_moved(spec.locations, directory))


def _table(model: str, directory: Path) -> ModelTable:
    if not is_architecture(model, directory):
        return ModelTable(source=model)
    # As a source too a type stands for any checkpoint of it; a config file alone stands for random weights.
    return ModelTable(source=None if model.endswith(".json") else model, architecture=model)


def _moved(locations: Locations, directory: Path | None) -> Locations:
    """Return the places without those of the replaced model, which no file holds."""
    gone = Place(None, None, directory or Path())
    kept = {path: place for path, place in locations.places.items() if path[:2] not in REPLACED}
    return Locations({**kept, **dict.fromkeys(REPLACED, gone)}, locations.directory)


def is_architecture(model: str, directory: Path) -> bool:
    """Tell whether a model's name is to be read as ``architecture``: a config file, or a model type.

    >>> is_architecture("bert", Path()), is_architecture("package:x/model", Path())
    (True, False)
    """
    if model.startswith((PREFIX, TIMM)) or model.endswith(".safetensors"):
        return False
    if model.endswith(".json"):
        return True
    if os.path.exists(directory / os.path.expanduser(model)) or not hub.is_hub_id(model):
        return False
    return model in model_types() and hub.cached_config(model, None) is None


def close_type(model: str) -> str | None:
    """Return ``did you mean the model type `x`?`` for the closest one, None when none is close."""
    return closest(model, model_types(), "did you mean the model type")


@lru_cache(maxsize=1)
def model_types() -> frozenset[str]:
    """Return the model types that the installed transformers registers, read from its files, not imported."""
    spec = find_spec("transformers")
    found: set[str] = set()
    for root in (spec.submodule_search_locations or ()) if spec else ():
        for name in ("auto_mappings.py", "configuration_auto.py"):
            path = Path(root, "models", "auto", name)
            if path.is_file():
                found.update(REGISTERED.findall(path.read_text("utf-8")))
    found.discard("CONFIG_MAPPING")  # the mapping's own name, in its list of public names
    return frozenset(found)
