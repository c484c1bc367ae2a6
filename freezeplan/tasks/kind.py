"""What a kind of task says of itself: one class per kind, each in a file of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import numpy
    import torch


@dataclass(frozen=True)
class Metric:
    """Name a metric of a kind; one that ``falls`` is better when it is smaller, all others when larger."""

    name: str
    falls: bool = False


VECTOR_FORMS = "use `--to sentence-transformers`, `--to onnx`, or `freezeplan.load_run` in Python"
COMPARE = "compare"
"""The head that learns to compare two vectors."""
LOSS = Metric("loss", falls=True)


@dataclass(frozen=True)
class Answering:
    """Say what answers should hold, and of rows of words where these are.

    ``probabilities`` asks for that of each label. ``texts`` holds the words of each row, and ``words`` says which of
    them each token begins, counted from 1.
    """

    probabilities: bool = False
    words: numpy.ndarray | None = None
    texts: Sequence[Sequence[str]] = ()


PLAIN = Answering()


class Scorer(Protocol):
    """Gather what the metrics of some rows need, batch by batch; never all outputs."""

    def update(self, out: torch.Tensor, target: torch.Tensor, loss: float) -> None:
        """Count one batch: what the head put out, the targets, and the sum of the losses of its terms."""

    def merge(self, other: Any) -> None:
        """Count what another scorer has counted."""

    def compute(self) -> dict[str, float]:
        """Return each metric of all that was counted, in the order of the kind's ``metrics``; there must be some."""


class TaskKind(ABC):
    """Say what a task of one kind learns from, what its head puts out, and how that is scored.

    A task's ``labels`` name the outputs of its head, in their order. Nothing here needs torch until a method
    that handles tensors is called.
    """

    name: ClassVar[str]
    """What a spec calls it."""
    output: ClassVar[str] = "label"
    """What one output of the head is called; empty where outputs have no names."""
    said: ClassVar[str] = ""
    """What its head gives, where outputs have no names."""
    fewest: ClassVar[int] = 1
    """How many outputs a task needs."""
    takes_labels: ClassVar[bool] = True
    """Whether a spec may list the outputs' names."""
    reads_words: ClassVar[bool] = False
    """Whether its rows are lists of words, and its head reads a state for each token."""
    texts: int = 1
    """How many texts of a row the backbone reads, each by itself; a head reads a vector of each."""
    rowwise: ClassVar[bool] = True
    """Whether a row's loss is its own; where it is not, a batch is one whole that cannot be split."""
    own_keys: ClassVar[frozenset[str]] = frozenset()
    """The keys of a task's table that not every kind reads, and this one does."""
    terms_vary: ClassVar[bool] = False
    """Whether a row's loss has the more terms the longer the row is."""
    own_head: ClassVar[bool] = False
    """Whether the model's own head gives its outputs: a number for each token of the vocabulary."""
    most_columns: ClassVar[int | None] = 1
    """How many target columns a task may have, None for any number; 0 for a kind that learns from its texts alone."""
    metrics: ClassVar[tuple[Metric, ...]]
    """What an evaluation measures."""
    trained_head: ClassVar[str] = ""
    """The ``head`` that learns, where that of a task which names none has no tensors."""
    stock: ClassVar[Mapping[str, str]] = {}
    """The automatic class of transformers whose head does the same, by what the rows hold."""
    without_stock: str = ""
    """Why transformers has no such class, where ``stock`` names none."""
    other_form: str = ""
    """What to do in place of an export to transformers, where there is something."""
    problem_type: ClassVar[str | None] = None
    """What transformers' configs call it."""

    def of(self, task: Any) -> TaskKind:
        """Return the kind with what a task's own keys say of it."""
        return self

    def over(self, labels: Sequence[str]) -> TaskKind:
        """Return the kind for outputs of these names, which are known once the data is read."""
        return self

    # Without torch.

    @property
    def compares(self) -> bool:
        """Whether each row has several texts that are read by themselves."""
        return self.texts > 1

    @property
    def from_vectors(self) -> bool:
        """Whether its answers follow from vectors of single texts alone."""
        return self.compares

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The names of its metrics."""
        return tuple(metric.name for metric in self.metrics)

    @abstractmethod
    def role(self, columns: int) -> str:
        """Return what each of a task's target columns holds: a key of the builders of columns."""

    def named_by_columns(self, columns: Sequence[str]) -> tuple[str, ...] | None:
        """Return the outputs' names where the target columns' own names tell them; None where values do."""
        return None

    def declare(self, columns: Sequence[Any]) -> tuple[str, ...]:
        """Return the outputs' names that the values of the target columns tell: distinct, sorted as strings."""
        return columns[0].sorted_names

    @abstractmethod
    def encode(self, columns: Sequence[Any], labels: Sequence[str], encoded: Any = None) -> Any:
        """Return the targets of all rows, the first axis counting rows, from the target columns' values.

        ``encoded`` are the rows' encoded inputs, which a kind with targets inside of a text looks at.
        """

    def content(self, targets: Any) -> numpy.ndarray:
        """Return an array that is another for other targets."""
        return targets

    def terms(self, targets: numpy.ndarray, rows: Sequence[int]) -> int:
        """Return how many terms the loss of some rows is a sum of; known before any forward."""
        return len(rows)

    # With torch.

    def head(self, hidden: int, labels: Sequence[str], dropout: float) -> torch.nn.Module:
        """Return a head, its weights not yet drawn, for vectors of ``hidden`` numbers: one linear layer."""
        from freezeplan.tasks.heads import LinearHead

        return LinearHead(hidden, len(labels), dropout)

    def by_row(self, out: torch.Tensor, rows: int) -> torch.Tensor:
        """Return what the head put out for some rows, the first axis counting them."""
        return out

    def collate(self, targets: numpy.ndarray, rows: Sequence[int], device: torch.device) -> torch.Tensor:
        """Return the targets of some rows, counted from 0, on a device."""
        import torch

        return torch.from_numpy(targets[list(rows)]).to(device)

    def blank(self, out: torch.Tensor) -> torch.Tensor:
        """Return some targets for outputs, where only the shape of a loss matters."""
        import torch

        return torch.zeros_like(out)

    @abstractmethod
    def losses(self, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss of each term in float32, for outputs in float32."""

    def loss(self, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the sum of the losses of all terms, a scalar; 0 where there are none."""
        return self.losses(out, target).sum()

    @abstractmethod
    def scorer(self, labels: Sequence[str]) -> Scorer:
        """Return a scorer that has counted nothing, for outputs of these names."""

    def report(self, scorer: Any, labels: Sequence[str]) -> dict[str, Any]:
        """Return what a scorer has counted in full, in plain JSON types; nothing where its metrics say it all.

        A section that holds scores of classes, labels or types is what :func:`report_of` returns.
        """
        full = getattr(scorer, "report", None)
        return {} if full is None else full(labels)

    @abstractmethod
    def answers(
        self, out: torch.Tensor, labels: Sequence[str], form: Answering = PLAIN
    ) -> list[dict[str, Any]]:
        """Return one answer per row in plain JSON types, for outputs in float32."""


def merged(scorers: Iterable[Scorer]) -> Scorer:
    """Return the first of some scorers, with all that the others have counted."""
    whole, *others = scorers
    for other in others:
        whole.merge(other)
    return whole
