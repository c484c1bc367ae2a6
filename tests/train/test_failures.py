"""What others are to blame for ends a run as a diagnostic that names them; what freezeplan is to blame for does not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers.models.bert.modeling_bert import BertLayer

from freezeplan.diagnostics import DiagnosticError
from freezeplan.prefix import Reason, Refused
from freezeplan.runs.events import Event, ExecutionChosen, StepDone, StoreProgress
from freezeplan.train import predict as prediction
from freezeplan.train.execution import Execution
from freezeplan.train.failures import explained
from freezeplan.train.predict import predict
from freezeplan.train.resume import resume
from freezeplan.train.run import train
from freezeplan.train.running import Running
from tests.train.kinds import half_frozen
from tests.train.test_resume import signal_at
from tests.train.tiny import toy_spec

WHOLE = [{"match": "**", "except": "@pooler", "state": "trainable"}, {"match": "@pooler", "state": "frozen"}]


def failing(error: Exception) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        raise error

    return call


def found(call: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(DiagnosticError) as caught:
        call()
    (item,) = caught.value.diagnostics
    return item.code, item.message


def test_another_process_that_is_gone_is_not_the_models_fault() -> None:
    class Asking(torch.nn.Module):
        def forward(self) -> None:
            raise RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer")

    def work() -> None:
        with explained():
            Asking()()

    assert found(work)[0] == "FP556"


@pytest.mark.parametrize(
    ("error", "place"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "the device"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "this machine"),
        (MemoryError(), "this machine"),
    ],
)
def test_too_little_memory_names_whose(error: Exception, place: str) -> None:
    def work() -> None:
        with explained():
            raise error

    code, message = found(work)
    assert code == "FP504" and message.startswith(f"{place} ran out of memory")


def test_an_error_of_freezeplan_stays_one() -> None:
    with pytest.raises(KeyError), explained():
        raise KeyError("a fault of our own")


class Picky(torch.nn.Module):
    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        raise ValueError("the length has to be a multiple of 4")


def test_a_models_own_forward_is_named_with_what_it_said() -> None:
    def work() -> None:
        with explained():
            torch.nn.Sequential(Picky())(torch.zeros(2))

    expected = "the forward of `Picky`, the model's own code, failed: ValueError: the length has to be a multiple of 4"
    assert found(work) == ("FP506", expected)


def test_a_forward_that_fails_in_training_and_in_prediction(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = toy_spec(toy, rule=WHOLE, train={"epochs": 1, "batch_size": 48})
    train(spec, tmp_path / "run")

    def forward(self: BertLayer, *arguments: Any, **options: Any) -> Any:
        raise ValueError("no such length")

    monkeypatch.setattr(BertLayer, "forward", forward)
    expected = "the forward of `BertLayer`, the model's own code, failed: ValueError: no such length"
    assert found(lambda: train(spec, tmp_path / "other")) == ("FP506", expected)
    assert found(lambda: list(predict(tmp_path / "run", ["a box"]))) == ("FP506", expected)


def test_outputs_that_are_no_numbers_get_no_label(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(toy_spec(toy, train={"epochs": 1, "batch_size": 48}), tmp_path / "run")
    loaded = prediction.load_run

    def poisoned(folder: Path) -> Any:
        run = loaded(folder)
        run.model.heads["mood"].linear.bias.data[0] = torch.nan
        return run

    monkeypatch.setattr(prediction, "load_run", poisoned)
    code, message = found(lambda: list(predict(tmp_path / "run", ["a box"])))
    assert code == "FP531" and "task `mood`" in message


@pytest.mark.parametrize("moment", [StoreProgress, StepDone])
def test_a_store_that_is_removed_under_a_run_is_said(toy: Path, tmp_path: Path, moment: type) -> None:
    """What is left open can be read on; either the run ends as it would have, or it says what is gone."""
    out = tmp_path / "run"

    def remove(event: Event) -> None:
        if isinstance(event, moment):
            shutil.rmtree(out / "store", ignore_errors=True)

    try:
        assert train(half_frozen(toy), out, remove).status == "finished"
    except DiagnosticError as error:
        assert {item.code for item in error.diagnostics} <= {"FP486", "FP507"}


def test_a_resume_that_cannot_store_says_that_bits_may_differ(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(half_frozen(toy), tmp_path / "run", signal_at(4))
    refusal = failing(Refused(Reason.TOO_FEW, "the disk takes no more"))
    monkeypatch.setattr(Execution, "_prepare", refusal)
    seen: list[Event] = []
    result = resume(tmp_path / "run", seen.append)
    (chosen,) = (event for event in seen if isinstance(event, ExecutionChosen))
    (warning,) = (item for item in result.diagnostics if item.code == "FP548")
    assert warning.notes[1] == f"it now runs so: {chosen.statement}"


def test_where_one_process_cannot_store_none_does() -> None:
    said = ["stored prefix k=1 of 2, 3.0 KiB in memory", "no store: no room"]
    for own in said:
        run = SimpleNamespace(ranks=SimpleNamespace(gather=lambda _: said), forward=SimpleNamespace(store=1))
        assert Running._agreed(run, own) == "no store: no room (process 1 of 2, so in none)"
        assert run.forward.store is None
    alike = SimpleNamespace(
        ranks=SimpleNamespace(gather=lambda own: [own, own]), forward=SimpleNamespace(store=1)
    )
    assert (Running._agreed(alike, said[0]), alike.forward.store) == (said[0], 1)
