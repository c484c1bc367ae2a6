"""Token classification: a tag for each word of a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import fsum
from typing import TYPE_CHECKING, Any, ClassVar

from freezeplan.tasks.kind import LOSS, PLAIN, Answering, Metric, Scorer, TaskKind
from freezeplan.tasks.spans import OUTSIDE, spans_of

if TYPE_CHECKING:
    import numpy
    import torch

    from freezeplan.tasks.word_targets import WordTargets

IGNORED = -100
PREFIXES = ("B-", "I-")


class TokenClassification(TaskKind):
    """Learn the tag of each word, at its first piece: a logit per tag, cross-entropy."""

    name = "token_classification"
    output = "tag"
    fewest = 2
    reads_words = True
    terms_vary = True
    own_keys = frozenset({"scale"})
    stock: ClassVar[Mapping[str, str]] = {"tokens": "AutoModelForTokenClassification"}
    metrics = (Metric("span_f1"), Metric("strict_span_f1"), Metric("accuracy"), LOSS)

    def role(self, columns: int) -> str:
        """Return that the one target column holds a tag for each word."""
        return "tags"

    def encode(self, columns: Sequence[Any], labels: Sequence[str], encoded: Any = None) -> WordTargets:
        """Return each token's place in ``labels``, -100 where it is not the first piece of a word."""
        from freezeplan.tasks.word_targets import word_targets

        return word_targets(
            encoded.words, encoded.ends, columns[0].numbered(labels), columns[0].ends, IGNORED
        )

    def terms(self, targets: Any, rows: Sequence[int]) -> int:
        """Return one term per word that has a token."""
        return int(targets.counts[list(rows)].sum())

    def content(self, targets: Any) -> numpy.ndarray:
        """Return the tags of all tokens."""
        return targets.codes

    def collate(self, targets: Any, rows: Sequence[int], device: torch.device) -> torch.Tensor:
        """Return the tags of some rows, ``(rows, longest of them)`` as 64-bit numbers."""
        import torch

        return torch.from_numpy(targets.padded(rows, IGNORED)).to(device)

    def blank(self, out: torch.Tensor) -> torch.Tensor:
        """Return the first tag for each token."""
        import torch

        return torch.zeros(out.shape[:2], dtype=torch.int64)

    def losses(self, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy of each word, for logits ``(rows, tokens, tags)``."""
        from torch.nn.functional import cross_entropy

        counted = target != IGNORED
        return cross_entropy(out[counted], target[counted], reduction="none")

    def loss(self, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the sum of the cross-entropy of all words."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(out.flatten(0, -2), target.flatten(), ignore_index=IGNORED, reduction="sum")

    def scorer(self, labels: Sequence[str]) -> Scorer:
        """Return an empty count of words and spans."""
        from freezeplan.tasks.spans import SpanTally

        return SpanTally(tuple(labels))

    def answers(
        self, out: torch.Tensor, labels: Sequence[str], form: Answering = PLAIN
    ) -> list[dict[str, Any]]:
        """Return a tag and its probability (softmax) per word, None for words without a token.

        Where some tag says that a span begins or goes on (``B-``, ``I-``), ``spans`` holds those that the tags stand
        for: ``type``, the first word as ``start``, the word after the last as ``end``, both counted from 0, the
        ``text``, its words with blanks between, and the mean of their probabilities as ``score``.
        """
        table = out.softmax(dim=-1).cpu().numpy()
        spanned = any(label.startswith(PREFIXES) for label in labels)
        found: list[dict[str, Any]] = []
        for row, text in enumerate(form.texts):
            answer = _tagged(form.words[row], table[row], labels, text, form.probabilities)
            if spanned:
                answer["spans"] = list(_spans(answer, text))
            found.append(answer)
        return found


def _tagged(
    words: numpy.ndarray, table: numpy.ndarray, labels: Sequence[str], text: Sequence[str], in_full: bool
) -> dict[str, Any]:
    """Return the answer for one row, whose tokens have the probabilities ``(tokens, tags)``."""
    keys = ("tags", "scores", "probabilities") if in_full else ("tags", "scores")
    answer: dict[str, Any] = {key: [None] * len(text) for key in keys}
    for token in words.nonzero()[0]:
        word, best = int(words[token]) - 1, int(table[token].argmax())
        answer["tags"][word], answer["scores"][word] = labels[best], float(table[token, best])
        if in_full:
            answer["probabilities"][word] = dict(zip(labels, table[token].tolist(), strict=True))
    return answer


def _spans(answer: Mapping[str, Any], text: Sequence[str]) -> Iterator[dict[str, Any]]:
    for kind, start, end in spans_of([tag or OUTSIDE for tag in answer["tags"]]):
        scores = answer["scores"][start:end]
        yield {
            "type": kind,
            "start": start,
            "end": end,
            "text": " ".join(text[start:end]),
            "score": fsum(scores) / len(scores),
        }
