from __future__ import annotations

import json
import re
from collections import Counter
from itertools import combinations, product
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2] / "examples" / "data"
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict[str, str]]]:
    return {name: [json.loads(line) for line in (DATA / f"{name}.jsonl").open()] for name in SPLITS}


def _normal(text: str) -> str:
    return re.sub(r"\W+", " ", text).strip().lower()


def test_there_are_enough_messages_and_classes(rows):
    everything = [row for split in SPLITS for row in rows[split]]
    assert len(everything) >= 600
    assert len({row["topic"] for row in everything}) >= 4
    assert {row["sentiment"] for row in everything} == {"negative", "neutral", "positive"}
    assert {tuple(row) for row in everything} == {("text", "topic", "sentiment")}


def test_no_message_occurs_twice_within_or_across_splits(rows):
    texts = [_normal(row["text"]) for split in SPLITS for row in rows[split]]
    assert len(set(texts)) == len(texts)


def test_no_two_messages_are_nearly_the_same(rows):
    words = [set(_normal(row["text"]).split()) for split in SPLITS for row in rows[split]]
    closest = max(len(a & b) / len(a | b) for a, b in combinations(words, 2))
    assert closest < 0.6


def test_the_topic_says_nothing_about_the_sentiment(rows):
    for split in SPLITS:
        counts = Counter((row["topic"], row["sentiment"]) for row in rows[split])
        cells = product({topic for topic, _ in counts}, {mood for _, mood in counts})
        assert len({counts[cell] for cell in cells}) == 1


def test_messages_vary_in_length_alike_under_every_label(rows):
    lengths: dict[str, list[int]] = {}
    for row in (row for split in SPLITS for row in rows[split]):
        for label in (row["topic"], row["sentiment"]):
            lengths.setdefault(label, []).append(len(row["text"].split()))
    means = [sum(found) / len(found) for found in lengths.values()]
    assert max(means) / min(means) < 1.35
    assert all(max(found) - min(found) > 20 for found in lengths.values())
