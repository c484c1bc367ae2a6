"""Hashes between two proofs: what torch counts a write to is hashed again, and a proof finds every write."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from freezeplan.apply import fingerprints as module
from freezeplan.apply.fingerprints import fingerprints

WRITES: dict[str, Callable[[torch.Tensor], object]] = {
    "in place": lambda tensor: tensor.add_(1),
    "through a view": lambda tensor: tensor.view(-1)[:1].add_(1),
    "copied": lambda tensor: tensor.copy_(tensor + 1),
}
UNCOUNTED = {"through .data": lambda tensor: tensor.data.add_(1)}


def small_model() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
    model[2].weight = model[0].weight
    return model


NAMES = list(fingerprints(small_model()).everything)


def tensor_of(model: nn.Module, name: str) -> torch.Tensor:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}[name]


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(list(WRITES))), max_size=5),
    st.sets(st.sampled_from(NAMES)),
)
def test_after_counted_writes_the_short_way_tells_what_the_proof_tells(
    writes: list[tuple[str, str]], still: set[str]
) -> None:
    model = small_model()
    before = fingerprints(model)
    with torch.no_grad():
        for name, how in writes:
            WRITES[how](tensor_of(model, name))
    assert fingerprints(model, since=before, still=still) == fingerprints(model)


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(list(WRITES | UNCOUNTED))), max_size=5),
    st.sets(st.sampled_from(NAMES)),
)
def test_whatever_is_written_a_proof_finds_it_and_the_short_way_what_may_move(
    writes: list[tuple[str, str]], still: set[str]
) -> None:
    model = small_model()
    before = fingerprints(model)
    with torch.no_grad():
        for name, how in writes:
            (WRITES | UNCOUNTED)[how](tensor_of(model, name))
    written = {name for name, _ in writes}
    short, proof = fingerprints(model, since=before, still=still), fingerprints(model, since=None)
    assert {name for name in NAMES if proof.everything[name] != before.everything[name]} == written
    assert all(short.everything[name] == proof.everything[name] for name in NAMES if name not in still)


@pytest.mark.parametrize("change", ["replaced", "emptied and filled", "made in inference mode"])
def test_another_tensor_in_its_place_is_hashed_again(change: str) -> None:
    model = small_model()
    before = fingerprints(model)
    with torch.no_grad():
        if change == "replaced":
            model[0].bias = nn.Parameter(model[0].bias + 1)
        elif change == "emptied and filled":
            model[0].bias.data = model[0].bias + 1
        else:
            with torch.inference_mode():
                model[0].bias = nn.Parameter(torch.ones(2), requires_grad=False)
    assert fingerprints(model, since=before, still=NAMES) == fingerprints(model) != before


def test_what_stays_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    model, read = small_model(), []
    before = fingerprints(model)
    sha256 = module.sha256
    monkeypatch.setattr(module, "sha256", lambda tensor: read.append(tensor) or sha256(tensor))
    fingerprints(model, since=before, still=[name for name in NAMES if name != "0.bias"])
    assert [id(tensor) for tensor in read] == [id(model[0].bias)]


def test_the_stamps_do_not_go_into_the_record_and_hashes_of_a_record_are_read_again() -> None:
    model = small_model()
    before = fingerprints(model)
    again = module.Fingerprints(**before.as_record())
    with torch.no_grad():
        model[0].bias.add_(1)
    assert fingerprints(model, since=again, still=NAMES) == fingerprints(model) != again
