"""In batches of rows of similar length each word of a pass weighs alike, however many words its batch has."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from freezeplan.train.setup import prepare
from tests.train.targets import word_data, write_targets
from tests.train.test_loop import EVERYTHING, make_loop
from tests.train.tiny import toy_spec

ROWS = 30


@pytest.mark.parametrize(
    "sizes", [{"batch_size": 4}, {"batch_size": 4, "accumulation": 3}, {"batch_size": 64}]
)
def test_the_gradients_of_a_pass_add_up_to_that_of_all_its_words(
    tmp_path: Path, sizes: dict[str, int]
) -> None:
    write_targets(tmp_path, train=ROWS, other=8)
    task = {"name": "t", "kind": "token_classification", "data": word_data(tmp_path)}
    spec = toy_spec(tmp_path, rule=EVERYTHING, task=[task], train={"epochs": 1, **sizes})
    loop = make_loop(prepare(spec))
    loop.model.eval()
    steps = list(loop.course.epoch_parts(0))
    words = [sum(loop.terms(parts).values()) for parts in steps]
    assert sizes["batch_size"] == 64 or len(set(words)) > 1
    for parts in steps:
        loop.accumulate_gradients(parts)
    found = {
        name: tensor.grad.clone() for name, tensor in loop.model.named_parameters() if tensor.grad is not None
    }
    loop.optimizer.zero_grad(set_to_none=True)
    split = loop.data["t"]
    target = split.target(range(ROWS), torch.device("cpu"))
    split.kind.loss(loop.forward.outputs("t", split, range(ROWS)), target).backward()
    usual = sum(words) * min(sizes["batch_size"] * sizes.get("accumulation", 1), ROWS) / ROWS
    expected = {name: t.grad / usual for name, t in loop.model.named_parameters() if t.grad is not None}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=1e-6), name
    if sizes["batch_size"] == 64:
        assert loop.share("t", words[0]) == 1.0
