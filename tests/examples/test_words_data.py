"""The tagged messages are well formed, their own, and counted right in the README beside them."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

from freezeplan.spec.reading import load_spec

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "examples" / "data"
SPLITS = ("train", "validation")


def rows_of(split: str) -> list[dict[str, list[str]]]:
    return [json.loads(line) for line in (DATA / f"words_{split}.jsonl").read_text("utf-8").splitlines()]


def words_of(text: str) -> str:
    return re.sub(r"\W+", " ", text).strip().lower()


def test_every_word_has_a_tag_and_no_span_begins_inside() -> None:
    for row in (row for split in SPLITS for row in rows_of(split)):
        assert row.keys() == {"tokens", "tags"} and len(row["tokens"]) == len(row["tags"])
        for before, tag in zip(["O", *row["tags"]], row["tags"], strict=False):
            assert not tag.startswith("I-") or before[2:] == tag[2:]


def test_no_message_occurs_twice_here_or_among_the_others() -> None:
    tagged = [words_of(" ".join(row["tokens"])) for split in SPLITS for row in rows_of(split)]
    others = [
        words_of(json.loads(line)["text"])
        for split in (*SPLITS, "test")
        for line in (DATA / f"{split}.jsonl").read_text("utf-8").splitlines()
    ]
    assert len({*tagged, *others}) == len(tagged) + len(others)


def test_the_readme_counts_the_spans() -> None:
    text = (DATA / "README.md").read_text("utf-8")
    counts = [
        Counter(tag[2:] for row in rows_of(split) for tag in row["tags"] if tag[0] == "B") for split in SPLITS
    ]
    for kind in ("item", "money", "time"):
        numbers = re.search(rf"^\| `{kind}` +\|[^|]+\| +(\d+) \| +(\d+) \|", text, re.MULTILINE)
        assert numbers is not None and [int(n) for n in numbers.groups()] == [count[kind] for count in counts]


def test_the_spec_over_them_names_every_tag() -> None:
    spec = load_spec(ROOT / "specs" / "distilbert_mtl.toml")
    (labels,) = (task.labels for task in spec.task if task.name == "entities")
    assert labels == sorted({tag for split in SPLITS for row in rows_of(split) for tag in row["tags"]})
