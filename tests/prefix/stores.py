"""Stores over toys, replays from them, and what they must equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from freezeplan.models.multitask import MultiTaskModel
from freezeplan.prefix import Cut, PrefixStore, Refused, StoreSettings, find_cut
from freezeplan.train.tokens import EncodedTexts, encoded_texts
from tests.prefix.running import LENGTHS, Data
from tests.prefix.toys import stack_of, toy

TINY = 64
TOKENS = sum(LENGTHS)


def cut_of(model: MultiTaskModel, data: Data, **more: Any) -> Cut:
    return find_cut(model, stack_of(model), data.batch("topic", range(4)), **more)


def made(
    settings: StoreSettings | None = None, frozen: int = 2, data: Data | None = None
) -> tuple[MultiTaskModel, Data, Cut, PrefixStore]:
    data, model = data or Data(), toy(frozen=frozen)
    return model, data, cut_of(model, data), PrefixStore(model, data.sources, data.batch, settings)


def replayed(store: PrefixStore, cut: Cut, data: Data, rows: Sequence[int] = (0, 5, 2)) -> torch.Tensor:
    model = store.model.eval()
    with torch.no_grad(), store.replaying(cut, "topic", rows):
        return model(task="topic", **data.batch("topic", rows))


def uncached(model: MultiTaskModel, data: Data, rows: Sequence[int] = (0, 5, 2)) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(task="topic", **data.batch("topic", rows))


def refused(call: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value


def encoded(rows: list[list[int]]) -> EncodedTexts:
    return encoded_texts({"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]})


def phases(model: MultiTaskModel, data: Data, *blocks: int) -> list[Cut]:
    """Return the cuts of phases that freeze fewer and fewer blocks."""
    found = []
    for count in blocks:
        frozen = ("backbone.embedding.", *(f"backbone.layers.{place}." for place in range(count)))
        names = {name for name, _ in model.named_parameters() if not name.startswith(frozen)}
        found.append(cut_of(model, data, trainable=names))
    return found
