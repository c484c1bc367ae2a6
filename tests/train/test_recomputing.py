"""Runs whose layers run again in the backward pass end in the bits of those that keep everything."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.run_weights import weights_of_run
from freezeplan.runs.events import ExecutionChosen
from freezeplan.spec.reading import load_spec
from freezeplan.train.checking import check_recomputing
from freezeplan.train.run import train
from tests.train.phased import ALL, POOLER, TOP, phased_spec

PHASES = [
    {"name": "heads", "epochs": 1},
    {"name": "top", "epochs": 2, "rule": [TOP]},
    {"name": "all", "epochs": 1, "rule": [ALL, POOLER]},
]


@pytest.mark.parametrize("store", ["require", "off"])
def test_a_run_that_works_out_anew_ends_in_the_same_bits(toy: Path, tmp_path: Path, store: str) -> None:
    found, said = {}, []
    phases = PHASES[:2] if store == "require" else PHASES
    for again in (True, False):
        table = {"batch_size": 16, "store": store, "gradient_checkpointing": again}
        spec = phased_spec(toy, phases, optimizer={"lr": 5e-3}, train=table)
        train(
            spec,
            tmp_path / str(again),
            lambda event: said.append(event.statement) if isinstance(event, ExecutionChosen) else None,
        )
        found[again] = weights_of_run(tmp_path / str(again))
    assert found[True].keys() == found[False].keys()
    assert all((found[True][name] == found[False][name]).all() for name in found[True])
    assert all(statement.startswith("stored ") is (store == "require") for statement in said)


def test_a_model_without_such_layers_is_refused_at_the_key() -> None:
    spec = load_spec(
        {
            "model": {"architecture": "resnet"},
            "rule": [{"match": "**", "state": "trainable"}],
            "train": {"gradient_checkpointing": True},
        }
    )
    with pytest.raises(DiagnosticError) as caught:
        check_recomputing(spec, torch.nn.Linear(2, 2))
    (found,) = caught.value.diagnostics
    assert found.code == "FP488" and "no layer of `Linear`" in found.message
