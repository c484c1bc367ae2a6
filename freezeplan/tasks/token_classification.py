"""Token classification: a tag for each word of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from freezeplan.tasks.kind import LOSS, PLAIN, Answering, Metric, Scorer, TaskKind

if TYPE_CHECKING:
    import numpy
    import torch

    from freezeplan.tasks.word_targets import WordTargets

IGNORED = -100


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
        """Return a tag and its probability (softmax) per word, None for words without a token."""
        words = form.words
        assert words is not None
        best = out.softmax(dim=-1).max(dim=-1)
        scores, places = best.values.tolist(), best.indices.tolist()
        found: list[dict[str, Any]] = []
        for row, count in enumerate(form.counts):
            answer: dict[str, Any] = {"tags": [None] * count, "scores": [None] * count}
            for token in words[row].nonzero()[0]:
                word = int(words[row, token]) - 1
                answer["tags"][word] = labels[places[row][token]]
                answer["scores"][word] = scores[row][token]
            found.append(answer)
        return found
