"""What PEFT's ``save_pretrained`` writes of a model beside its adapters: embeddings that were resized or adapted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

EMBEDDINGS = ("embed_tokens", "lm_head")
"""PEFT's ``EMBEDDING_LAYER_NAMES``: what it takes for an embedding among the modules that an adapter is put on."""


def saved_embeddings(tuner: Any) -> frozenset[int]:
    """Return the identities of the tensors of embeddings that PEFT saves with an adapter, without being asked.

    By its default ``save_embedding_layers = "auto"``, those are the model's embeddings, in and out, when the adapter
    is put on one of them, or when the size of the vocabulary is not the one in the base model's own config.
    Source: ``get_peft_model_state_dict`` of PEFT 0.21.
    """
    configs = tuner.peft_config.values() if isinstance(tuner.peft_config, Mapping) else ()
    found: set[int] = set()
    for config in configs:
        on_them = _is_put_on_embeddings(config) and not _trains_tokens(config)
        if on_them or _is_resized(tuner, config):
            found.update(id(tensor) for layer in _layers(tuner) for tensor in _saved(layer, on_them=on_them))
    return frozenset(found)


def _is_put_on_embeddings(config: Any) -> bool:
    targets = getattr(config, "target_modules", None) or ()
    return not isinstance(targets, str) and any(name in targets for name in EMBEDDINGS)


def _trains_tokens(config: Any) -> bool:
    kind = getattr(config, "peft_type", "")
    return kind == "TRAINABLE_TOKENS" or getattr(config, "trainable_token_indices", None) is not None


def _is_resized(tuner: Any, config: Any) -> bool:
    size = getattr(getattr(tuner, "config", None), "vocab_size", None)
    base = getattr(config, "base_model_name_or_path", None)
    if not size or not base:
        return False
    try:
        known = type(tuner.config).from_pretrained(base, local_files_only=True)
    except Exception:  # it is not on this machine: PEFT would ask the hub
        return False
    return bool(known.vocab_size != size)


def _layers(tuner: Any) -> Iterator[Any]:
    for ask in ("get_input_embeddings", "get_output_embeddings"):
        try:
            layer = getattr(tuner, ask)()
        except (AttributeError, NotImplementedError):
            continue
        if layer is not None:
            yield layer


def _saved(layer: Any, *, on_them: bool) -> Iterator[Any]:
    base = getattr(layer, "base_layer", None)
    if base is not None:
        yield from base.parameters()
    elif not on_them:
        yield from layer.parameters()
