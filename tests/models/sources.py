"""Small real models of transformers for the tests, with random weights or on the meta device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from freezeplan.outside.quiet import quiet
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec

TINY: dict[str, dict[str, Any]] = {
    "bert": {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16},
    "distilbert": {"dim": 8, "n_layers": 3, "n_heads": 2, "hidden_dim": 16},
}
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "day", "night"]
TASKS = [
    {"name": "mood", "labels": ["bad", "good"]},
    {"name": "time", "labels": ["day", "night", "noon"]},
]


def meta(model_type: str, class_name: str, **settings: Any) -> Any:
    """Build a class of transformers with its default config on the meta device."""
    config = transformers.CONFIG_MAPPING[model_type](**settings)
    with quiet(), torch.device("meta"):
        return getattr(transformers, class_name)._from_config(config)


def tiny(model_type: str = "bert", class_name: str = "AutoModel") -> Any:
    """Build a tiny model with random weights in memory."""
    settings = TINY[model_type] | {"vocab_size": len(VOCABULARY), "max_position_embeddings": 16}
    config = transformers.CONFIG_MAPPING[model_type](**settings)
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(transformers, class_name).from_config(config)


def saved(folder: Path, model: Any = None) -> Path:
    """Save a tiny model with its tokenizer and return the folder."""
    with quiet():
        (tiny() if model is None else model).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY), "utf-8")
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def spec_of(model: dict[str, Any], tasks: list[dict[str, Any]] | None = None, **tables: Any) -> Spec:
    """Read a spec from a dict, with one rule for everything."""
    rule = [{"match": "**", "state": "trainable"}]
    return load_spec({"model": model, "task": tasks or [], "rule": rule, **tables})
