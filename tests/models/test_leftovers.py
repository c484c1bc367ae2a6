"""What becomes of weights that the model has no place for: it is said."""

from __future__ import annotations

import json
from pathlib import Path

from freezeplan.diagnostics import Diagnostic
from freezeplan.models.leftovers import unused_advice
from freezeplan.models.loading import load_model
from tests.models.sources import TASKS, saved, spec_of, tiny


def advice(folder: Path, *, layers: int = 3) -> list[Diagnostic]:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": layers}))
    spec = spec_of({"source": str(folder)}, TASKS)
    model, record = load_model(spec)
    return list(unused_advice(record, model.backbone, spec))


def test_a_layer_that_is_dropped_is_a_warning(tmp_path: Path) -> None:
    (found,) = advice(saved(tmp_path), layers=2)
    assert found.code == "FP178" and found.where == "model.source"
    assert "16 tensors" in found.message and "`encoder.layer.2." in found.message


def test_a_head_that_is_left_behind_is_a_note(tmp_path: Path) -> None:
    (found,) = advice(saved(tmp_path, tiny("bert", "AutoModelForMaskedLM")))
    assert found.code == "FP179" and "`cls.predictions.bias`" in found.message


def test_both_come_apart_under_the_prefix_of_a_task_model(tmp_path: Path) -> None:
    found = advice(saved(tmp_path, tiny("bert", "AutoModelForMaskedLM")), layers=1)
    assert [item.code for item in found] == ["FP178", "FP179"]
    assert "32 tensors" in found[0].message


def test_weights_that_all_have_a_place_need_no_word(tmp_path: Path) -> None:
    assert advice(saved(tmp_path)) == []
