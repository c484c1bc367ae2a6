"""Accelerate keeps one state for a process: a run is not computed by the settings of what was there before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from freezeplan.diagnostics import DiagnosticError
from freezeplan.train import predict as predicting
from freezeplan.train.launching import chosen_device, start_accelerator


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Take accelerate's state away before and after."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_another_precision_in_the_same_process_is_a_diagnostic() -> None:
    Accelerator(mixed_precision="bf16", cpu=True)
    with pytest.raises(DiagnosticError) as caught:
        start_accelerator()
    (found,) = caught.value.diagnostics
    assert found.code == "FP560"
    assert "mixed_precision='no'" in found.message


@pytest.mark.parametrize("engine", ["FSDP", "DEEPSPEED", "MEGATRON_LM"])
def test_an_engine_of_the_launcher_is_refused(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{engine}", "true")
    with pytest.raises(DiagnosticError, match="share out the model") as caught:
        start_accelerator()
    assert caught.value.diagnostics[0].code == "FP560"


def test_the_same_precision_is_taken() -> None:
    Accelerator(mixed_precision="no")
    assert start_accelerator().mixed_precision == "no"


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu", "cpu"])
def test_prediction_and_features_go_where_training_does(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: kind != "cpu")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device(kind))
    assert chosen_device().type == kind
    moved: list[torch.device] = []

    class Model(torch.nn.Linear):
        def to(self, device: torch.device) -> Model:
            moved.append(device)
            return self

    run = SimpleNamespace(model=Model(1, 1))
    monkeypatch.setattr(predicting, "load_run", lambda folder: run)
    assert predicting.ready(Path("run"))[1].type == kind == moved[0].type


def test_without_an_accelerator_training_and_prediction_choose_the_cpu() -> None:
    if torch.accelerator.is_available():
        pytest.skip("there is one")
    assert start_accelerator().device == chosen_device() == torch.device("cpu")
