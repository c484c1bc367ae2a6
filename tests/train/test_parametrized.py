"""A backbone with parametrized weights trains under the names of its plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn.utils import parametrizations

from freezeplan.runs.verify import verify_run
from freezeplan.spec.tables import Spec
from freezeplan.train import setup
from freezeplan.train.run import train
from tests.train.tiny import toy_spec

DENSE = "encoder.layer.1.output.dense"


@pytest.fixture
def _with_weight_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load every model with a weight norm on one matrix, as wav2vec2's convolution over positions has it."""
    load = setup.load_model

    def parametrized(spec: Spec, **how: bool) -> tuple:
        model, record = load(spec, **how)
        with torch.random.fork_rng(devices=[]):
            parametrizations.weight_norm(model.backbone.get_submodule(DENSE))
        return model, record

    monkeypatch.setattr(setup, "load_model", parametrized)


@pytest.mark.usefixtures("_with_weight_norm")
@pytest.mark.parametrize("state", ["trainable", "frozen"])
def test_a_parametrized_tensor_is_proved_to_move_or_to_stay(toy: Path, tmp_path: Path, state: str) -> None:
    rules = [{"match": "**", "state": "trainable"}, {"match": "@pooler", "state": "frozen"}]
    names = [f"backbone.{DENSE}.weight.original{part}" for part in (0, 1)]
    if state == "frozen":
        rules.append({"match": [f"backbone.{DENSE}.weight"], "state": "frozen"})
    rate = {"name": "sgd", "lr": 0.05}
    train(toy_spec(toy, rule=rules, optimizer=rate, train={"epochs": 1, "batch_size": 16}), tmp_path / "run")
    evidence = json.loads((tmp_path / "run" / "evidence.json").read_text("utf-8"))
    found = {item["name"]: item for item in evidence["tensors"]}
    assert [(found[name]["frozen"], found[name]["moved"]) for name in names] == [
        (state == "frozen", state == "trainable")
    ] * 2
    assert evidence["unmoved"] == {}
    assert verify_run(tmp_path / "run").diagnostics == ()
