"""Two texts that are compared: each is encoded by itself, and the head is their cosine, or begins as it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity

import freezeplan
from freezeplan.cli.compiling import compiled_spec
from freezeplan.cost.estimating import estimate_cost
from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.loading import init_head_
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec
from freezeplan.tasks.heads import ComparisonHead, CosineHead
from freezeplan.train.examining import evaluate_run
from freezeplan.train.forward import Forward
from freezeplan.train.run import train
from freezeplan.train.setup import prepare
from tests.train.targets import write_targets
from tests.train.tiny import toy_data, toy_spec

FROZEN = [{"match": "**", "state": "frozen"}]
TOP = [*FROZEN, {"match": "@layers[-1:]", "state": "trainable"}]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the tiny model and rows; no test may change it."""
    return write_targets(tmp_path_factory.mktemp("targets"))


def spec_of(rows: Path, rule: list[dict[str, Any]] = TOP, **task: Any) -> Spec:
    data = toy_data(rows, "charge", text_pair="other")
    tasks = [{"name": "alike", "kind": "similarity", "data": data} | task]
    return toy_spec(rows, task=tasks, rule=rule, optimizer={"lr": 1e-3})


def test_each_text_is_read_by_itself(rows: Path) -> None:
    setup = prepare(spec_of(rows))
    split = setup.data["train"]["alike"]
    assert len(split) == 64 and len(split.inputs) == 128
    assert list(split.entries([3, 0])) == [3, 0, 67, 64]
    assert split.lengths is not None and split.lengths.tolist() == [
        max(split.inputs.lengths[row], split.inputs.lengths[row + 64]) for row in range(64)
    ]
    setup.model.eval()
    forward = Forward(setup.model, setup.encoder, torch.device("cpu"))
    with torch.no_grad():
        found = forward.outputs("alike", split, [3, 0])
        vectors = [
            setup.model.vectors(**setup.encoder.batch(split.inputs, [entry], torch.device("cpu")))
            for entry in (3, 0, 67, 64)
        ]
    expected = [float(cosine_similarity(vectors[at], vectors[at + 2])) for at in (0, 1)]
    assert found.shape == (2, 1) and found.flatten().tolist() == pytest.approx(expected, abs=1e-5)


def test_it_learns_nothing_while_the_backbone_is_frozen(rows: Path) -> None:
    assert prepare(spec_of(rows, FROZEN)).evaluation_only
    assert not prepare(spec_of(rows)).evaluation_only


HEADS = [*FROZEN, {"match": "heads", "state": "trainable", "lr": 0.03}]


@pytest.mark.parametrize("rule", [FROZEN, HEADS])
def test_a_frozen_backbone_is_told_which_head_learns(rows: Path, rule: list[dict[str, Any]]) -> None:
    try:
        found = compiled_spec(load_spec(spec_of(rows, rule))).plan.diagnostics
    except DiagnosticError as error:
        found = error.diagnostics
    advice = [item.help for item in found if item.code in ("FP202", "FP404")]
    assert len(advice) == 1 and advice[0].endswith(
        'give the task `alike` a head that trains: head = "compare"'
    )
    assert not compiled_spec(load_spec(spec_of(rows, HEADS, head="compare"))).plan.diagnostics


vectors = st.lists(st.floats(-4, 4, width=32), min_size=6, max_size=6).filter(any)
pairs = st.lists(st.tuples(vectors, vectors), min_size=1, max_size=4)


def stacked(rows: list[tuple[list[float], list[float]]]) -> torch.Tensor:
    return torch.tensor([vector for side in zip(*rows, strict=True) for vector in side])


@given(pairs)
def test_a_comparison_begins_as_the_cosine(rows: list[tuple[list[float], list[float]]]) -> None:
    head = ComparisonHead(6)
    init_head_(head, 3, "alike")
    found, expected = head(stacked(rows)), CosineHead()(stacked(rows))
    assert found.shape == expected.shape
    assert found.flatten().tolist() == pytest.approx(expected.flatten().tolist(), abs=1e-5)


@given(pairs, st.integers(0, 99))
def test_a_comparison_is_the_same_whichever_text_comes_first(
    rows: list[tuple[list[float], list[float]]], seed: int
) -> None:
    torch.manual_seed(seed)
    head = ComparisonHead(6)
    turned = [(other, one) for one, other in rows]
    assert torch.equal(head(stacked(rows)), head(stacked(turned)))


def test_a_comparison_weighs_products_and_distances_of_unit_vectors() -> None:
    head = ComparisonHead(2)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
        head.linear.bias.fill_(5.0)
    # u = (0.6, 0.8) and v = (1, 0): products 0.6 and 0, distances 0.4 and 0.8.
    found = head(torch.tensor([[3.0, 4.0], [2.0, 0.0]]))
    assert found.tolist() == [[pytest.approx(0.6 + 3 * 0.4 + 4 * 0.8 + 5.0)]]


def test_a_comparison_learns_on_a_frozen_backbone_and_is_read_back(rows: Path, tmp_path: Path) -> None:
    names = ("cosine", "compare")
    specs = [spec_of(rows, FROZEN), spec_of(rows, HEADS, head="compare", max_score=2.0)]
    results = [train(spec, tmp_path / name) for name, spec in zip(names, specs, strict=True)]
    losses = [result.test["alike"]["loss"] for result in results]
    assert losses[1] < losses[0] / 2
    loaded = freezeplan.load_run(tmp_path / "compare")
    (answer,) = loaded.predict([("the screen is great", "a letter")])
    one, other = torch.from_numpy(loaded.embed(["the screen is great", "a letter"]))
    with torch.no_grad():
        value = 2.0 * float(loaded.model.heads["alike"](torch.stack([one, other])))
    assert answer["alike"]["value"] == pytest.approx(value, abs=1e-5)
    assert evaluate_run(tmp_path / "compare").tasks["alike"]["metrics"]["loss"] == pytest.approx(losses[1])


def test_its_cost_is_that_of_two_texts_a_row(rows: Path) -> None:
    single = toy_spec(
        rows,
        rule=TOP,
        task=[{"name": "alike", "kind": "regression", "data": toy_data(rows, "charge")}],
    )
    costs = [
        estimate_cost(spec, compiled_spec(load_spec(spec)).plan, length=8).phases[0].epoch
        for spec in (spec_of(rows), single)
    ]
    assert costs[0] == pytest.approx(2 * costs[1], rel=0.02)


def test_a_native_head_is_refused(rows: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        prepare(spec_of(rows, head="native"))
    assert caught.value.diagnostics[0].code == "FP183"
