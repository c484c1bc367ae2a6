"""Folders as sentence-transformers saves them, around tiny models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.models.sources import saved

OLD = {
    "cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens", "max": "pooling_mode_max_tokens",
    "lasttoken": "pooling_mode_lasttoken", "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
}  # fmt: skip
TRANSFORMER = "sentence_transformers.models.Transformer"


def write(path: Path, content: Any) -> None:
    """Write JSON to a file, whose folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")


def switches(*modes: str) -> dict[str, Any]:
    """Return the pooling's config as it was written before `pooling_mode`."""
    return {"word_embedding_dimension": 8} | {key: name in modes for name, key in OLD.items()}


def sentence_folder(
    folder: Path,
    pooling: dict[str, Any] | None,
    settings: dict[str, Any] | None = None,
    own: dict[str, Any] | None = None,
    *,
    inner: str = "",
    more: tuple[str, ...] = (),
) -> Path:
    """Save a tiny transformer with what sentence-transformers writes around it, and return the folder.

    ``pooling`` is the config of the pooling (None: it has none), ``settings`` that of the transformer, ``inner`` the
    transformer's folder, ``more`` the class names of further modules.
    """
    (folder / inner).mkdir(parents=True, exist_ok=True)
    saved(folder / inner)
    names = [*(["Pooling"] if pooling is not None else []), *more]
    modules = [{"idx": 0, "name": "0", "path": inner, "type": TRANSFORMER}] + [
        {
            "idx": place,
            "name": str(place),
            "path": f"{place}_{name}",
            "type": f"sentence_transformers.models.{name}",
        }
        for place, name in enumerate(names, 1)
    ]
    write(folder / "modules.json", modules)
    if pooling is not None:
        write(folder / "1_Pooling" / "config.json", pooling)
    if settings is not None:
        write(folder / inner / "sentence_bert_config.json", settings)
    if own is not None:
        write(folder / "config_sentence_transformers.json", own)
    return folder
