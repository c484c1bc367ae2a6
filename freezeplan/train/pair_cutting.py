"""Of two long texts, what decides how they are cut together: no tokenizer is asked to cut all of both."""

from __future__ import annotations

import re
from typing import Any

from freezeplan.train.tokens import IDS

PIECES = 4
BLANK = re.compile(r"\s")
Pair = tuple[str, str]


def kept_of_pair(tokenizer: Any, pair: Pair, beginnings: Pair, most: int) -> Pair:
    """Return as much of two texts as is tokenised together to the same ``most`` tokens, up to blanks.

    Fast tokenizers make every piece of the one text with every piece of the other when they cut a long pair. What they
    keep depends on which of the two has more tokens, for that one keeps the odd token, and the second where neither
    has more. So ``most`` tokens stay of the one with fewer, and of the other as many, or one more. ``beginnings`` hold
    at least ``most`` tokens of the texts of ``pair``. Texts that are kept whole are the very same objects.
    """
    if max(map(len, beginnings)) <= PIECES * most or not _cuts_ends(tokenizer):
        return beginnings
    first, second = _counts(tokenizer, pair, beginnings)
    fewer = 1 if first > second else 0
    kept = list(beginnings)
    kept[fewer] = _cut(tokenizer, kept[fewer], most)
    left = _count(tokenizer, kept[fewer])
    kept[1 - fewer] = _cut(tokenizer, kept[1 - fewer], max(most, left + (first != second)))
    return kept[0], kept[1]


def _cuts_ends(tokenizer: Any) -> bool:
    return getattr(tokenizer, "is_fast", False) and getattr(tokenizer, "truncation_side", "right") == "right"


def _counts(tokenizer: Any, pair: Pair, beginnings: Pair) -> tuple[int, int]:
    """Count the tokens of both texts: of all of them where their beginnings do not tell which has more."""
    first, second = (_count(tokenizer, text) for text in beginnings)
    cut = [part is not text for part, text in zip(beginnings, pair, strict=True)]
    if all(cut) or (cut[0] and first <= second) or (cut[1] and second <= first):
        return _count(tokenizer, pair[0]), _count(tokenizer, pair[1])
    return first, second


def _count(tokenizer: Any, text: str) -> int:
    return len(tokenizer(text, add_special_tokens=False, verbose=False)[IDS])


def _cut(tokenizer: Any, text: str, most: int) -> str:
    found = tokenizer(
        text, truncation=True, max_length=most, add_special_tokens=False, return_offsets_mapping=True
    )
    ends = found["offset_mapping"]
    blank = BLANK.search(text, ends[-1][1]) if ends else None
    return text[: blank.start()] if blank else text
