"""What a store was made from: entries are used only where every part of it is the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import torch
from torch import nn

from freezeplan.apply.fingerprints import sha256
from freezeplan.apply.formats import kept_in
from freezeplan.prefix.replay import Cut

Key = Mapping[str, str]
ABOUT_FILES = frozenset(["transformers_weights", "_name_or_path"])
LIBRARIES = ("torch", "transformers", "freezeplan")


def store_key(model: nn.Module, cut: Cut, inputs: str, format: torch.dtype, known: dict[str, str]) -> Key:
    """Return what a cut's entries are made from, by part, each as a short text or a hash.

    ``inputs`` is the hash of the encoded inputs, ``format`` the store's number format. ``known`` maps names of
    tensors to hashes and is filled, so that cuts of one model hash each tensor once.
    """
    config = getattr(_backbone(model), "config", None)
    return {
        "weights": _weights(model, cut.depends_on, known),
        "config": _hash([_settings(config), repr(model)]),
        "attention": str(getattr(config, "_attn_implementation", None)),
        "arithmetic": _arithmetic(model, cut),
        "inputs": inputs,
        "boundary": f"{cut.boundary} of {cut.prefix.stack} {cut.per_token}",
        "pooling": str(getattr(model, "pooling", None)) if cut.whole else "",
        "format": str(format),
        "libraries": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
    }


def differences(found: Key, wanted: Key) -> tuple[str, ...]:
    """Return the names of the parts in which two keys differ."""
    return tuple(sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)))


def _backbone(model: nn.Module) -> nn.Module:
    return getattr(model, "backbone", model)


def _settings(config: Any) -> str:
    """Return what a config says of the computation; where its files lie changes when it is saved."""
    if not hasattr(config, "to_json_string"):
        return ""
    record = json.loads(config.to_json_string())
    return json.dumps({key: value for key, value in record.items() if key not in ABOUT_FILES}, sort_keys=True)


def _weights(model: nn.Module, names: Sequence[str], known: dict[str, str]) -> str:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name in names:
        if name not in known:
            known[name] = sha256(tensors[name])
    return _hash(
        [f"{name} {kept_in(tensors[name])} {tuple(tensors[name].shape)} {known[name]}" for name in names]
    )


def _arithmetic(model: nn.Module, cut: Cut) -> str:
    device = next(model.parameters()).device.type
    autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    own = getattr(model, "precision", None)
    return f"{cut.dtype} on {device}, autocast {autocast}, {own}, {torch.get_float32_matmul_precision()}"


def _hash(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
