"""What a class keeps in float32 under half precision is planned so, loaded so, and read back so."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import T5Config, T5Model

from freezeplan.models.loading import load_model
from freezeplan.models.sources import inventory_for
from freezeplan.spec.tables import Spec


def test_t5_in_float16_is_planned_with_the_formats_it_is_loaded_in(tmp_path: Path) -> None:
    T5Model(T5Config(vocab_size=12, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)).save_pretrained(
        tmp_path
    )
    spec = Spec.model_validate({"model": {"source": str(tmp_path), "dtype": "float16"}, "rule": []})
    planned = {param.name: param.dtype for param in inventory_for(spec).params}
    loaded, _ = load_model(spec)
    empty, _ = load_model(spec, weights=False)
    for model in (loaded, empty):
        found = {name: str(tensor.dtype) for name, tensor in model.named_parameters()}
        assert {name: f"torch.{planned[name]}" for name in found} == found
    assert [name for name, tensor in loaded.named_parameters() if tensor.dtype == torch.float32] == [
        "encoder.block.0.layer.1.DenseReluDense.wo.weight",
        "decoder.block.0.layer.2.DenseReluDense.wo.weight",
    ]
