"""Embedding: vectors in which texts that belong together are close, learned from pairs and the rest of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from freezeplan.tasks.kind import LOSS, PLAIN, VECTOR_FORMS, Answering, Metric, Scorer, TaskKind

if TYPE_CHECKING:
    import numpy
    import torch

TEMPERATURE = 0.05
DIGEST = "S32"


class Embedding(TaskKind):
    """Learn that an anchor's vector is nearest to that of its positive: in-batch negatives, and no tensors of its own.

    A row is an anchor, a positive and, of ``texts`` = 3, a negative. Its loss is the cross-entropy of choosing its
    positive among all positives and negatives of the batch, by their cosines with the anchor divided by
    ``temperature``; with ``sizes``, the sum of that over vectors cut to each of them. Targets number the texts,
    ``(rows, texts)``: those that the model sees alike have one number.

    Sources: Henderson et al., Efficient Natural Language Response Suggestion for Smart Reply, 2017,
    https://arxiv.org/abs/1705.00652; Kusupati et al., Matryoshka Representation Learning, 2022,
    https://arxiv.org/abs/2205.13147.
    """

    name = "embedding"
    output = ""
    said = "in-batch negatives"
    fewest = 0
    takes_labels = False
    rowwise = False
    own_keys = frozenset({"temperature", "matryoshka"})
    without_stock = "its answer is the vectors themselves, and its head has no tensors"
    other_form = VECTOR_FORMS
    most_columns: ClassVar[int | None] = 0
    metrics = (Metric("mrr"), Metric("recall_at_1"), Metric("recall_at_10"), LOSS)

    def __init__(self, texts: int = 2, temperature: float = TEMPERATURE, sizes: Sequence[int] = ()) -> None:
        self.texts, self.temperature, self.sizes = texts, temperature, tuple(sizes)

    def of(self, task: Any) -> Embedding:
        """Return the kind with a task's own temperature and sizes, for as many texts as its rows hold."""
        texts = max(2, len(task.data.inputs)) if task.data is not None else 2
        return Embedding(texts, task.temperature or TEMPERATURE, task.matryoshka or ())

    def role(self, columns: int) -> str:
        """Return that there is no target column: texts alone tell what is to be learned."""
        return "text"

    def named_by_columns(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Return that no output has a name."""
        return ()

    def encode(self, columns: Sequence[Any], labels: Sequence[str], encoded: Any = None) -> numpy.ndarray:
        """Return the number of each text, ``(rows, texts)``, the same for texts that the model sees alike."""
        import numpy

        digests = numpy.frombuffer(b"".join(encoded.digests()), dtype=DIGEST)
        numbers = numpy.unique(digests, return_inverse=True)[1].astype(numpy.int64)
        return numpy.ascontiguousarray(numbers.reshape(self.texts, -1).T)

    def terms(self, targets: numpy.ndarray, rows: Sequence[int]) -> int:
        """Return one term per row, and none for a pair alone: there is nothing to tell its positive from."""
        return 0 if len(rows) == 1 and targets.shape[1] == 2 else len(rows)

    def head(self, hidden: int, labels: Sequence[str], dropout: float) -> torch.nn.Module:
        """Return what hands on the vectors, with nothing to learn."""
        from freezeplan.tasks.heads import VectorHead

        return VectorHead()

    def by_row(self, out: torch.Tensor, rows: int) -> torch.Tensor:
        """Return the vectors of all first texts, then all second ones, as ``(rows, texts, hidden)``."""
        return out.reshape(-1, rows, out.shape[-1]).transpose(0, 1)

    def blank(self, out: torch.Tensor) -> torch.Tensor:
        """Return texts of which no two are alike."""
        import torch

        return torch.arange(out.shape[0] * out.shape[1], device=out.device).reshape(out.shape[:2])

    def losses(self, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss of each row in a batch with these others, for vectors ``(rows, texts, hidden)``."""
        from freezeplan.tasks.contrast import contrasts

        if self.terms(target, range(len(target))) == 0:
            return out.new_zeros(0)
        sizes = self.sizes or (out.shape[-1],)
        return sum(contrasts(out[..., :size], target, self.temperature) for size in sizes)

    def scorer(self, labels: Sequence[str]) -> Scorer:
        """Return an empty collection of vectors."""
        from freezeplan.tasks.retrieval import Retrieval

        return Retrieval(self.temperature)

    def answers(
        self, out: torch.Tensor, labels: Sequence[str], form: Answering = PLAIN
    ) -> list[dict[str, Any]]:
        """Return the cosine of two texts as ``value``; of three, ``values`` holds the first one's with the others."""
        from torch.nn.functional import cosine_similarity

        rows = cosine_similarity(out[:, :1], out[:, 1:], dim=-1).tolist()
        if out.shape[1] == 2:
            return [{"value": row[0]} for row in rows]
        return [{"values": dict(zip(("text_pair", "text_negative"), row, strict=True))} for row in rows]
