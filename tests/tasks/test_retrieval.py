"""Retrieval scores: what a rank is, what a tie is, and which texts are no candidates."""

from __future__ import annotations

import numpy
import pytest
import torch
from hypothesis import assume, given
from torch.nn.functional import cosine_similarity, cross_entropy

from freezeplan.tasks.embedding import Embedding
from freezeplan.tasks.retrieval import TIE, Retrieval
from tests.tasks.made import Made, made


def scores(rows: list[list[int]], vectors: dict[int, list[float]]) -> dict[str, float]:
    """Return the scores of rows of texts whose vectors are given by text."""
    scorer = Retrieval(temperature=1.0)
    scorer.add(rows, numpy.array([[vectors[text] for text in row] for row in rows], dtype=numpy.float32))
    return scorer.compute()


def test_a_collapsed_model_has_the_worst_rank_there_is() -> None:
    rows = [[2 * row, 2 * row + 1] for row in range(20)]
    found = scores(rows, {text: [0.3, 0.4] for row in rows for text in row})
    assert (found["mrr"], found["recall_at_1"], found["recall_at_10"]) == (1 / 20, 0.0, 0.0)
    chance = numpy.random.default_rng(0)
    noisy = {text: [0.3 + 1e-8 * chance.normal(), 0.4] for row in rows for text in row}
    assert scores(rows, noisy)["mrr"] == 1 / 20


def test_a_tie_counts_as_a_miss_wherever_it_stands() -> None:
    vectors = {0: [1.0, 0.0], 1: [1.0, 1.0], 2: [0.0, 1.0], 3: [1.0, -1.0]}
    for rows in ([[0, 1], [2, 3]], [[2, 3], [0, 1]], [[0, 3], [2, 1]]):
        found = Retrieval(1.0)
        found.add(rows, numpy.array([[vectors[text] for text in row] for row in rows]))
        ranks, _ = found._ranks([0], [1, 3], [(0, dict(rows)[0])])
        assert ranks.tolist() == [2]


def test_a_positive_of_several_anchors_is_one_candidate() -> None:
    vectors = {0: [1.0, 0.0], 1: [1.0, 0.1], 2: [1.0, 0.05], 3: [0.0, 1.0], 4: [0.1, 1.0]}
    found = scores([[0, 1], [2, 1], [3, 4]], vectors)
    assert (found["mrr"], found["recall_at_1"]) == (1.0, 1.0)


def test_the_positives_of_one_anchor_do_not_stand_in_each_others_way() -> None:
    vectors = {0: [1.0, 0.0], 1: [1.0, 0.1], 2: [1.0, 0.2], 3: [0.0, 1.0], 4: [0.1, 1.0]}
    found = scores([[0, 1], [0, 2], [3, 4]], vectors)
    assert (found["mrr"], found["recall_at_1"], found["recall_at_10"]) == (1.0, 0.75, 1.0)


def test_an_anchor_does_not_find_itself() -> None:
    vectors = {0: [1.0, 0.0], 1: [1.0, 0.5], 2: [0.9, 0.4]}
    assert scores([[0, 1], [2, 0]], vectors)["mrr"] == pytest.approx((1.0 + 0.5) / 2)
    # Unless it is its own positive, as a text is in rows of the same text twice.
    assert scores([[0, 0], [1, 1]], vectors)["mrr"] == 1.0


def test_negatives_are_candidates() -> None:
    vectors = {0: [1.0, 0.0], 1: [1.0, 1.0], 2: [1.0, 0.1]}
    assert scores([[0, 1, 2]], vectors)["mrr"] == 0.5


def test_what_is_no_number_is_never_found() -> None:
    vectors = {0: [1.0, 0.0], 1: [float("nan"), 1.0], 2: [0.0, 1.0], 3: [0.1, 1.0]}
    assert scores([[0, 1], [2, 3]], vectors)["recall_at_1"] <= 0.5


@given(made(["embedding"]))
def test_ranks_and_losses_are_those_of_one_by_one(given: Made) -> None:
    rows, codes = range(len(given)), given.targets().tolist()
    scorer = given.kind.scorer(())
    scorer.update(given.outputs(rows), given.target(rows), 0.0)
    vectors = {
        text: unit
        for row, its in zip(codes, given.out, strict=True)
        for text, unit in zip(row, its, strict=True)
    }
    everything = sorted({text for row in codes for text in row[1:]})
    best: dict[int, list[int]] = {}
    losses = []
    for anchor, positive in sorted({(row[0], row[1]) for row in codes}):
        mine = {row[1] for row in codes if row[0] == anchor}
        others = [text for text in everything if text not in mine and text != anchor]
        nearer = [text for text in mine if text != positive]
        cosine = {
            text: float(cosine_similarity(vectors[anchor].double(), vectors[text].double(), dim=0))
            for text in {*everything, positive}
        }
        # Whether it is a tie must not be a matter of rounding.
        assume(all(abs(cosine[positive] - cosine[text] - TIE) > 3e-7 for text in others))
        rank = 1 + sum(cosine[text] >= cosine[positive] - TIE for text in others)
        best.setdefault(anchor, []).append(
            rank + sum(cosine[text] > cosine[positive] + TIE for text in nearer)
        )
        logits = torch.tensor([cosine[positive], *(cosine[text] for text in others)]) / 0.05
        losses.append(float(cross_entropy(logits[None], torch.tensor([0]))))
    found = scorer.compute()
    mrr = sum(1 / min(ranks) for ranks in best.values()) / len(best)
    assert found["mrr"] == pytest.approx(mrr, abs=1e-6)
    assert found["loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-3, abs=1e-3)


@given(made(["embedding"]))
def test_a_batch_with_all_rows_has_the_loss_of_the_split(given: Made) -> None:
    kind, rows = given.kind, range(len(given))
    codes = given.target(rows)
    if len(given) < 2 or len({tuple(row) for row in codes[:, :2].tolist()}) < len(given):
        return
    candidates = codes[:, 1:].flatten().tolist()
    if len(set(candidates)) < len(candidates):
        return
    scorer = kind.scorer(())
    scorer.update(given.outputs(rows), codes, 0.0)
    mean = float(kind.loss(given.outputs(rows), codes)) / len(given)
    assert scorer.compute()["loss"] == pytest.approx(mean, rel=1e-3, abs=1e-4)


def test_the_loss_is_the_cross_entropy_of_the_cosines_with_gradients_that_are_its_own() -> None:
    torch.manual_seed(0)
    out = torch.randn(5, 3, 7, dtype=torch.float64, requires_grad=True)
    codes = torch.arange(15).reshape(5, 3)
    found = Embedding(3, 0.1).loss(out, codes)
    expected = torch.zeros((), dtype=torch.float64)
    for row in range(5):
        logits = [
            cosine_similarity(out[row, 0], out[other, side], dim=0) / 0.1
            for side in (1, 2)
            for other in range(5)
        ]
        expected = expected + cross_entropy(torch.stack(logits)[None], torch.tensor([row]))
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    ours, theirs = (torch.autograd.grad(loss, out)[0] for loss in (found, expected))
    assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_the_loss_of_cut_vectors_is_a_sum() -> None:
    out, codes = torch.randn(4, 2, 6), torch.arange(8).reshape(4, 2)
    parts = sum(Embedding().loss(out[..., :size], codes) for size in (6, 2))
    assert float(Embedding(sizes=(6, 2)).loss(out, codes)) == pytest.approx(float(parts), rel=1e-6)


def test_what_is_no_negative_has_no_gradient() -> None:
    out = torch.randn(3, 2, 4, requires_grad=True)
    # The second row's positive is that of the first, the third row has the anchor of the first.
    losses = Embedding().losses(out, torch.tensor([[0, 1], [2, 1], [0, 3]]))
    (first,) = torch.autograd.grad(losses[0], out)
    assert losses[0].item() == 0.0 and not first[1:].any()


def test_a_pair_alone_has_no_term_and_a_triplet_alone_has_one() -> None:
    assert Embedding().losses(torch.randn(1, 2, 4), torch.tensor([[0, 1]])).shape == (0,)
    assert Embedding(3).losses(torch.randn(1, 3, 4), torch.tensor([[0, 1, 2]])).shape == (1,)
