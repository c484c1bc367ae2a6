"""Gradients of several tasks become one: exactly weighed, whatever the batches; with torchjd, by its own numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from freezeplan.diagnostics import DiagnosticError
from freezeplan.runs.events import Event, StepDone
from freezeplan.runs.verify import verify_run
from freezeplan.spec.reading import load_spec
from freezeplan.train import balancing
from freezeplan.train.balancing import WEIGHINGS, combined, inner_products, weighing, weights_of
from freezeplan.train.checking import check_balancing
from freezeplan.train.resume import resume
from freezeplan.train.run import train
from tests.train.phased import assert_same_tree, every_kind
from tests.train.test_loop import loop_of

Rows = list[list[torch.Tensor | None]]


def some_rows(tasks: int = 3) -> Rows:
    """Return gradients of two tensors; the second task has none of the second."""
    torch.manual_seed(5)
    rows: Rows = [[torch.randn(4, 3), torch.randn(5)] for _ in range(tasks)]
    rows[1][1] = None
    return rows


def flat(rows: Rows) -> torch.Tensor:
    """Return the same as one matrix, a task per row."""
    zeros = [torch.zeros(4, 3), torch.zeros(5)]
    filled = [[g if g is not None else z for g, z in zip(row, zeros, strict=True)] for row in rows]
    return torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in filled])


def long(parts: Sequence[torch.Tensor | None]) -> torch.Tensor:
    """Return some tensors as one vector."""
    return torch.cat([part.reshape(-1) for part in parts if part is not None])


def needs_torchjd() -> None:
    pytest.importorskip("torchjd", reason="the extra `balancing` is not installed")
    pytest.importorskip("quadprog", reason="the extra `balancing` is not installed")


def test_inner_products_and_sums_are_those_of_one_long_vector_per_task() -> None:
    rows, weights = some_rows(), [1.0, -0.5, 2.0]
    whole = flat(rows)
    assert torch.allclose(inner_products(rows).float(), whole @ whole.T, rtol=1e-5)
    found = combined(rows, weights)
    assert torch.allclose(long(found), torch.tensor(weights) @ whole)
    assert combined([[None], [None]], [1.0, 1.0]) == [None]


def test_what_is_not_finite_and_what_stands_alone_is_not_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, tasks: int) -> Any:
        raise AssertionError

    monkeypatch.setattr(balancing, "weighing", refuse)
    rows = some_rows()
    rows[0][0] = torch.full((4, 3), torch.inf)
    assert weights_of("upgrad", rows) == [1.0, 1.0, 1.0]
    assert weights_of("upgrad", [some_rows()[0], [None, None]]) == [1.0, 1.0]


def test_a_library_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(balancing, "import_module", absent)
    tasks = [{"name": name, "labels": ["a", "b"]} for name in ("topic", "mood")]
    table = {"mixing": "joint", "balancing": "upgrad"}
    with pytest.raises(DiagnosticError) as caught:
        check_balancing(load_spec({"task": tasks, "train": table}))
    (problem,) = caught.value.diagnostics
    assert (problem.code, problem.where) == ("FP436", "train.balancing")
    assert "freezeplan[balancing]" in (problem.help or "") and "torchjd" in problem.notes[0]
    check_balancing(load_spec({"task": tasks, "train": {"mixing": "joint"}}))


@pytest.mark.parametrize("name", WEIGHINGS)
def test_the_weighed_sum_is_what_torchjd_makes_of_the_whole_jacobian(name: str) -> None:
    needs_torchjd()
    from torchjd import aggregation

    rows = some_rows()
    kind, as_a_sum = WEIGHINGS[name]
    aggregator = getattr(aggregation, kind.removesuffix("Weighting"))
    made = aggregator(torch.ones(3, dtype=torch.float64)) if as_a_sum else aggregator()
    torch.manual_seed(3)
    expected = made(flat(rows).double())
    torch.manual_seed(3)
    found = combined(rows, weights_of(name, rows))
    assert torch.allclose(long(found).double(), expected, atol=1e-3)


@pytest.mark.parametrize("name", ["dualproj", "pcgrad", "upgrad"])
def test_gradients_that_do_not_conflict_are_summed_as_ever(name: str) -> None:
    needs_torchjd()
    weights = weighing(name, 2)(torch.tensor([[4.0, 1.0], [1.0, 2.0]], dtype=torch.float64))
    assert weights.tolist() == pytest.approx([1.0, 1.0], abs=1e-3)


def gradients_of_step(toy: Path, **train: Any) -> dict[str, torch.Tensor]:
    """Return the gradients of a first step over the same 32 rows of each task."""
    loop = loop_of(toy, mixing="joint", length_buckets=False, store="off", **train)
    loop.balancing = train.get("balancing")
    loop.model.eval()
    if loop.balancing is None:
        loop.accumulate_gradients(loop.course.parts(0))
    else:
        loop.balance_gradients(loop.course.parts(0), loop.balancing)
    return {name: tensor.grad for name, tensor in loop.model.named_parameters() if tensor.grad is not None}


def test_a_balanced_step_is_the_same_however_its_rows_are_accumulated(toy: Path) -> None:
    needs_torchjd()
    whole = gradients_of_step(toy, balancing="mgda", batch_size=32)
    parts = gradients_of_step(toy, balancing="mgda", batch_size=8, accumulation=4)
    plain = gradients_of_step(toy, batch_size=32)
    assert whole.keys() == parts.keys() == plain.keys()
    for name, gradient in whole.items():
        assert torch.allclose(gradient, parts[name], atol=2e-5)
        # A head's gradient is its task's own; what is shared has weights that add up to one, not to two.
        assert torch.equal(gradient, plain[name]) == (name.startswith("heads.") or not gradient.any())


def test_a_balanced_run_is_verified_and_resumed_to_the_same_bits(toy: Path, tmp_path: Path) -> None:
    needs_torchjd()
    spec = every_kind(toy, "joint", balancing="pcgrad")
    train(spec, tmp_path / "whole")

    def stop(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 9:
            raise KeyboardInterrupt

    assert train(spec, tmp_path / "run", stop).status == "interrupted"
    assert resume(tmp_path / "run").status == "finished"
    assert_same_tree(tmp_path / "run", tmp_path / "whole")
    assert verify_run(tmp_path / "run").holds
