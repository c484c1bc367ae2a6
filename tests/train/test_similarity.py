"""Two texts that are compared: each is encoded by itself, and the head is their cosine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cosine_similarity

from freezeplan.cli.compiling import compiled_spec
from freezeplan.cost.estimating import estimate_cost
from freezeplan.diagnostics import DiagnosticError
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec
from freezeplan.train.forward import Forward
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
