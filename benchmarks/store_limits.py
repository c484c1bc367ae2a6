"""Measure the store against its limits: building against one forward pass, replaying against the upper half alone.

``python -m benchmarks.store_limits [--sentences N] [--repeats N] [--json FILE]`` takes the real MiniLM and
real sentences; half of its layers are frozen (k=3), then the whole backbone. Four things are done in turns:

- *forward pass*: the frozen layers alone, cut out of the model by hand, over all sentences, long ones first;
- *build*: finding and proving the cut, hashing data and weights, recording, and the store's own check;
- *suffix*: training what is not frozen, cut out of the model by hand, on hidden states that lie padded in memory;
- *replay* and *plain*: training the whole model on the same batches, from the store and without it.

The last three go on batch after batch, each of them once, so that all meet the same machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.minilm import (
    BATCH_SIZE,
    FROZEN,
    TASK,
    lengths_line,
    parser,
    rules_of,
    spec_of,
    write_sentences,
)
from benchmarks.plain_limits import Steps, batches_of, lower_half, run_lower, run_whole, upper_half
from benchmarks.timing import Clock, at_most, in_turns, median_ratio, set_one_thread, write_json
from freezeplan.inventory.from_module import inventory_of
from freezeplan.prefix import Cut, PrefixStore, find_cut
from freezeplan.train.setup import Setup, prepare

CASES = {"k=3 of 6": "1/2 frozen", "whole backbone": "heads only"}
LIMIT = 1.15


@dataclass
class Times:
    """Hold the seconds of one case, one number per repeat, and how many bytes the store took."""

    case: str
    forward: list[float] = field(default_factory=list)
    build: list[float] = field(default_factory=list)
    suffix: list[float] = field(default_factory=list)
    replay: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    store_bytes: int = 0

    @property
    def ratios(self) -> dict[str, float]:
        """Build to forward pass, replay to suffix, and plain epoch to replay epoch."""
        return {
            "build/forward": median_ratio(self.build, self.forward),
            "replay/suffix": median_ratio(self.replay, self.suffix),
            "plain/replay": median_ratio(self.plain, self.replay),
        }


class Case:
    """Hold one model with a part of it frozen, and what is measured on it."""

    def __init__(self, setup: Setup, clock: Clock) -> None:
        self.setup, self.clock, self.model = setup, clock, setup.model.train()
        self.inputs = setup.data["train"][TASK].inputs
        self.lengths = self.inputs.widths.tolist()
        by_length = sorted(range(len(self.inputs)), key=lambda row: -self.lengths[row])
        self.rows = [by_length[start : start + BATCH_SIZE] for start in range(0, len(by_length), BATCH_SIZE)]
        self.stacks = inventory_of(self.model).stacks
        self.cut, self.store = self.build()

    def build(self) -> tuple[Cut, PrefixStore]:
        """Find the cut on a real batch and compute the store."""
        cut = find_cut(self.model, self.stacks, self.batch(TASK, self.rows[len(self.rows) // 2][:4]))
        store = PrefixStore(self.model, {TASK: self.inputs}, self.batch)
        store.prepare([cut], BATCH_SIZE)
        return cut, store

    def batch(self, source: str, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """Return some sentences as the model's inputs."""
        return self.setup.encoder.batch(self.inputs, rows, self.setup.device)

    def forward_pass(self) -> Callable[[], list[torch.Tensor]]:
        """Return the frozen layers' one pass over the sentences, batches made on the way as the store does."""
        if self.cut.whole:
            whole = self.model
            return lambda: in_eval(whole, lambda: run_whole(whole, batches_of(self.setup, self.rows)))
        lower = lower_half(self.model, self.cut.prefix.layers)
        return lambda: run_lower(lower, batches_of(self.setup, self.rows))

    def suffix_batches(self) -> tuple[torch.nn.Module, list[dict[str, Any]]]:
        """Return what trains, cut out of the model, and what it is trained on."""
        stored = self.forward_pass()()
        if self.cut.whole:
            upper = upper_half(self.model, len(self.model.backbone.encoder.layer))
            return upper, [{"pooled": pooled} for pooled in stored]
        masks = [batch["attention_mask"] for batch in batches_of(self.setup, self.rows)]
        pairs = zip(stored, masks, strict=True)
        batches = [{"inputs_embeds": hidden, "attention_mask": mask} for hidden, mask in pairs]
        return upper_half(self.model, self.cut.prefix.layers), batches

    def epochs(self) -> dict[str, float]:
        """Train one epoch in three ways, batch by batch in turns; returns their seconds."""
        upper, batches = self.suffix_batches()
        suffix, whole = Steps(upper), Steps(self.model)
        split, device = self.setup.data["train"][TASK], self.setup.device

        def replay(rows: Sequence[int], truth: torch.Tensor) -> None:
            batch = {} if self.cut.whole else self.batch(TASK, rows)
            with self.store.replaying(self.cut, TASK, rows):
                whole.take(batch, truth)

        spent = dict.fromkeys(("suffix", "replay", "plain"), 0.0)
        for place, rows in enumerate(self.rows):
            truth, given = split.target(rows, device), batches[place]
            works = {
                "suffix": lambda given=given, truth=truth: suffix.take(given, truth),
                "replay": lambda rows=rows, truth=truth: replay(rows, truth),
                "plain": lambda rows=rows, truth=truth: whole.take(self.batch(TASK, rows), truth),
            }
            for name, work in shifted(works, place):
                spent[name] += self.clock.seconds(work)
        return spent


def shifted(works: dict[str, Any], by: int) -> list[tuple[str, Any]]:
    """Return the works in turn, beginning with another one each time.

    >>> [name for name, _ in shifted({"a": 0, "b": 0, "c": 0}, 4)]
    ['b', 'c', 'a']
    """
    items = list(works.items())
    return items[by % len(items) :] + items[: by % len(items)]


def in_eval(model: torch.nn.Module, work: Callable[[], Any]) -> Any:
    """Do some work with a model in eval mode, and put it back into training mode."""
    model.eval()
    try:
        return work()
    finally:
        model.train()


def measure(name: str, setup: Setup, clock: Clock, repeats: int) -> Times:
    """Measure one case."""
    case = Case(setup, clock)
    forward = case.forward_pass()
    found = in_turns(
        {
            "forward": lambda: clock.seconds(forward),
            "build": lambda: clock.seconds(case.build),
            "epochs": case.epochs,
        },
        repeats,
    )
    spent = {way: [epoch[way] for epoch in found["epochs"]] for way in ("suffix", "replay", "plain")}
    return Times(name, found["forward"], found["build"], **spent, store_bytes=case.store.nbytes)


def lines(times: Times, clock: Clock) -> list[str]:
    """Return what is printed of one case."""
    ratios = times.ratios
    seconds = ", ".join(
        f"{way} {median(getattr(times, way)):.3f}"
        for way in ("forward", "build", "suffix", "replay", "plain")
    )
    return [
        f"{times.case}: {seconds} ({clock.unit}); store {times.store_bytes / (1 << 20):.1f} MiB",
        f"  build to one forward pass     {at_most(ratios['build/forward'], LIMIT)}",
        f"  replay to the suffix alone    {at_most(ratios['replay/suffix'], LIMIT)}",
        f"  plain epoch to replay epoch   {ratios['plain/replay']:7.2f}x",
    ]


def main() -> None:
    """Read the command line, measure both cases and print them."""
    asked = parser("store_limits", repeats=5).parse_args()
    clock, found = set_one_thread(), []
    with tempfile.TemporaryDirectory() as folder:
        files = write_sentences(asked.data, Path(folder), asked.sentences)
        for name, frozen in CASES.items():
            setup = prepare(spec_of(files, rules_of(FROZEN[frozen])))
            if not found:
                counts = setup.data["train"][TASK].inputs.widths.tolist()
                print(f"MiniLM, {lengths_line(counts)}, batches of {BATCH_SIZE}, {asked.repeats} repeats")
            found.append(measure(name, setup, clock, asked.repeats))
            print(*lines(found[-1], clock), sep="\n", flush=True)
    write_json(asked.json, [asdict(times) | {"ratios": times.ratios} for times in found])


if __name__ == "__main__":
    main()
