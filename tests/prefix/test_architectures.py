"""Every architecture trains from the store to the same bits, or is refused for the expected reason."""

from __future__ import annotations

import pytest

from tests.prefix.architectures import ARCHITECTURES, Architecture
from tests.prefix.running import outcome

ROWS = [pytest.param(row, id=row.label, marks=() if row.core else pytest.mark.slow) for row in ARCHITECTURES]


@pytest.mark.parametrize("architecture", ROWS)
def test_half_frozen_it_ends_in_the_same_bits_or_says_why_not(architecture: Architecture) -> None:
    found = outcome(architecture, 0.5)
    if architecture.refuses is not None:
        assert found.refusal is not None and found.refusal.reason is architecture.refuses
        return
    assert found.statement == "stored prefix k=2 of 4"
    assert found.equal or (not architecture.exact and found.distance <= 1e-5)


@pytest.mark.parametrize("architecture", ROWS)
def test_with_the_whole_backbone_frozen_every_architecture_ends_in_the_same_bits(
    architecture: Architecture,
) -> None:
    found = outcome(architecture, 1.0)
    assert found.statement == "stored features of the whole backbone"
    assert found.equal or (not architecture.exact and found.distance <= 1e-5)


def test_the_comparison_sees_a_single_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from freezeplan.prefix.entries import Entries

    right = Entries.batch

    def almost(self: Entries, *args: object) -> torch.Tensor:
        found = right(self, *args)
        return torch.nextafter(found, found + 1)

    row = next(row for row in ARCHITECTURES if row.model_type == "distilbert")
    monkeypatch.setattr(Entries, "batch", almost)
    found = outcome(row, 0.5)
    assert found.cut is not None and not found.equal and found.distance > 0
