"""What a plan costs, as immutable plain records: no tensors, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from freezeplan.diagnostics.wording import format_count
from freezeplan.plan.records import FrozenPrefix

# Resident memory over the bytes of live tensors with glibc's allocator as it comes: the median and the largest of
# the 24 cases of `python -m benchmarks.predicted_peak --margin`, rounded up.
ALLOCATOR_MARGIN = 1.2
LARGEST_MARGIN = 1.6


@dataclass(frozen=True)
class Memory:
    """Count the bytes of the tensors that a phase's training steps need at the same time.

    ``weights`` are parameters and buffers. ``gradients`` and ``optimizer_state`` are what is there once every
    task has taken a step. ``activations`` is the most that one forward pass holds beyond what was there before
    it, its batch included; ``saved`` is the part of it that waits for the backward pass. ``peak`` is the most
    that is alive at any moment of a step: the parts are not all at their largest then, and it holds temporary
    tensors of the backward pass and of the optimizer too. ``evaluation`` is the most during an evaluation
    between two epochs, None where the spec evaluates nothing.
    """

    weights: int
    gradients: int
    optimizer_state: int
    activations: int
    saved: int
    peak: int
    evaluation: int | None

    @property
    def highest(self) -> int:
        """The most of both: training steps and evaluation."""
        return max(self.peak, self.evaluation or 0)


@dataclass(frozen=True)
class Work:
    """Count floating-point operations of matrix products, convolutions and attention; a multiply-add is two."""

    forward: int
    backward: int

    @property
    def total(self) -> int:
        """Both passes."""
        return self.forward + self.backward


@dataclass(frozen=True)
class Store:
    """Say what storing the output of the frozen prefix takes and saves.

    ``prefix`` is what does not run. ``nbytes`` are those of the whole store, ``rows`` how many different rows there
    are. ``build`` are the FLOPs that fill the store, once; ``epoch`` those of every epoch that starts from it.
    """

    prefix: FrozenPrefix
    nbytes: int
    rows: int
    build: int
    epoch: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one row: the mean, where tasks of several kinds take part."""
        return self.nbytes // max(self.rows, 1)


@dataclass(frozen=True)
class PhaseCost:
    """Hold what one phase costs.

    ``learning`` names the tasks whose loss reaches something trainable (the model's class, in a spec without
    tasks); with none of them the phase only evaluates, and its numbers are of a forward pass. ``step`` is the
    work of one optimizer step, ``epoch`` of one epoch without a store, in which each of these tasks runs so many
    ``rows`` (on the whole; a phase that only evaluates runs each once). ``store`` is None where the prefix is not
    stored, and ``no_store`` says why.
    """

    name: str
    learning: tuple[str, ...]
    memory: Memory
    step: Work
    epoch: int
    rows: Mapping[str, int]
    store: Store | None
    no_store: str


@dataclass(frozen=True)
class Cost:
    """Hold what every phase of a plan costs, and under which assumptions.

    ``batch_size`` and ``length`` (tokens of each text, None for images) are those of a training step,
    ``eval_batch_size`` is that of an evaluation; ``batch_sizes`` maps the tasks whose training batches have a size of
    their own to it. Unless ``rows_known``, 1,000 stand for the rows of each task. Where ``processes`` share the run by
    a ``strategy``, it is the cost of the one that runs the most rows. A process takes
    ``allocator_margin`` times the memory of its tensors, ``largest_margin`` times in the worst case measured.
    """

    batch_size: int
    eval_batch_size: int
    length: int | None
    inputs: str
    rows_known: bool
    phases: tuple[PhaseCost, ...]
    assumptions: tuple[str, ...]
    allocator_margin: float = ALLOCATOR_MARGIN
    largest_margin: float = LARGEST_MARGIN
    batch_sizes: Mapping[str, int] = field(default_factory=dict)
    processes: int = 1
    strategy: str = "single"

    @property
    def company(self) -> str:
        """Of which processes the numbers are, in words."""
        return company_text(self.processes, self.strategy)

    @property
    def batches(self) -> str:
        """How large training batches are, in words."""
        return batches_text(self.batch_size, self.batch_sizes)

    def to_record(self) -> dict[str, Any]:
        """Return the cost as plain JSON types, keys in a fixed order: what the table is made from, too."""
        return {
            "batch_size": self.batch_size,
            "eval_batch_size": self.eval_batch_size,
            "length": self.length,
            "inputs": self.inputs,
            "batch_sizes": dict(self.batch_sizes),
            "processes": self.processes,
            "strategy": self.strategy,
            "rows_known": self.rows_known,
            "allocator_margin": {"usual": self.allocator_margin, "largest": self.largest_margin},
            "phases": [_phase(phase) for phase in self.phases],
            "assumptions": list(self.assumptions),
        }


@dataclass(frozen=True)
class FittingBatch:
    """Say how large the batches of one phase may be: ``rows`` in each, None where no task learns.

    ``peak`` are the predicted bytes with so many rows, ``beyond`` those with one row more; ``evaluation`` those of an
    evaluation between two epochs, which training batches do not change, None where nothing is evaluated.
    ``enough`` tells that no more rows were asked about, although they would fit.
    """

    phase: str
    rows: int | None
    peak: int
    beyond: int
    evaluation: int | None
    enough: bool = False


@dataclass(frozen=True)
class Fitting:
    """Hold the largest batches whose predicted peak is within a budget of bytes, phase by phase.

    ``inputs`` say what one row is, ``assumptions`` what the numbers rest on. Of several ``processes``, which share a
    batch by a ``strategy``, each has the budget.
    """

    budget: int
    inputs: str
    phases: tuple[FittingBatch, ...]
    assumptions: tuple[str, ...]
    allocator_margin: float = ALLOCATOR_MARGIN
    largest_margin: float = LARGEST_MARGIN
    processes: int = 1
    strategy: str = "single"

    @property
    def company(self) -> str:
        """Of which processes the numbers are, in words."""
        return company_text(self.processes, self.strategy)

    @property
    def rows(self) -> int | None:
        """The rows of a batch that fits into every phase, as one run has them; None where nothing learns."""
        return min((item.rows for item in self.phases if item.rows is not None), default=None)

    def to_record(self) -> dict[str, Any]:
        """Return it as plain JSON types: what the table is made from, too."""
        return {
            "budget": self.budget,
            "processes": self.processes,
            "strategy": self.strategy,
            "inputs": self.inputs,
            "batch_size": self.rows,
            "phases": [asdict(item) for item in self.phases],
            "allocator_margin": {"usual": self.allocator_margin, "largest": self.largest_margin},
            "assumptions": list(self.assumptions),
        }


def company_text(processes: int, strategy: str) -> str:
    """Say in words of which of several processes numbers are; nothing of one alone.

    >>> company_text(2, "shard"), company_text(1, "single")
    (', on each of 2 processes (shard)', '')
    """
    return f", on each of {format_count(processes)} processes ({strategy})" if processes > 1 else ""


def batches_text(size: int, own: Mapping[str, int]) -> str:
    """Say in words how large training batches are.

    >>> batches_text(32, {}), batches_text(4096, {"tone": 16})
    ('batches of 32', 'batches of 4,096 (tone: 16)')
    """
    return f"batches of {format_count(size)}" + (
        f" ({', '.join(f'{task}: {format_count(count)}' for task, count in own.items())})" if own else ""
    )


def _phase(phase: PhaseCost) -> dict[str, Any]:
    return {
        "name": phase.name,
        "learning": list(phase.learning),
        "bytes": asdict(phase.memory),
        "flops_per_step": asdict(phase.step) | {"total": phase.step.total},
        "flops_per_epoch": phase.epoch,
        "rows_per_epoch": dict(phase.rows),
        "store": _store(phase.store) if phase.store else None,
        "no_store": phase.no_store,
    }


def _store(store: Store) -> dict[str, Any]:
    return {
        "layers": store.prefix.layers,
        "of": store.prefix.of,
        "pooled": store.prefix.whole_backbone,
        "row_bytes": store.row_bytes,
        "rows": store.rows,
        "build": store.build,
        "epoch": store.epoch,
        "bytes": store.nbytes,
    }
