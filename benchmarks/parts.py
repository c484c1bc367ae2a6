"""Say what is left between a half-frozen run and its limit, part by part.

``python -m benchmarks.parts [--sentences N] [--repeats N] [--case NAME] [--json FILE]`` trains one head on the real
MiniLM for three epochs, as ``benchmarks.against_trainer`` does, with a clock around each part of the trainer; what
one part calls of another counts there alone. Three limits stand below: the layers above the cut, cut out of the model
by hand and trained on the same batches from hidden states that lie padded in memory; the whole model trained the same
way; and transformers' Trainer on the very same batches. All are taken in turns with our epochs.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from accelerate import Accelerator

from benchmarks.minilm import FROZEN, TASK, lengths_line, parser, rules_of, spec_of, write_sentences
from benchmarks.plain_limits import Steps, batches_of, lower_half, run_lower, run_whole, upper_half
from benchmarks.stock_trainer import trainer_epoch
from benchmarks.timing import Clock, set_one_thread, write_json
from freezeplan.prefix.entries import Entries
from freezeplan.runs.events import EpochDone, Event
from freezeplan.runs.ledger import Ledger
from freezeplan.runs.run_folder import RunFolder
from freezeplan.spec.tables import Spec
from freezeplan.train.execution import Execution
from freezeplan.train.forward import Forward
from freezeplan.train.loop import Loop
from freezeplan.train.running import Running
from freezeplan.train.session import Session
from freezeplan.train.setup import Setup, prepare

EPOCHS = 3
CASES = [name for name, frozen in FROZEN.items() if frozen]
OTHER = "the rest: events, logs, folders"
PARTS: Mapping[str, tuple[tuple[Any, str], ...]] = {
    "forward above the cut": ((Forward, "logits"),),
    "reading the store": ((Entries, "batch"),),
    "backward": ((Accelerator, "backward"),),
    "clipping": ((Accelerator, "clip_grad_norm_"),),
    "optimizer": ((torch.optim.AdamW, "step"),),
    "around the steps": ((Loop, "run_epoch"),),
    "evaluation": ((Running, "evaluate"),),
    "hashing": ((Ledger, "take"),),
    "saving": ((Running, "publish"), (Running, "write_checkpoint")),
}
ONCE = {
    "hashing all, making the optimizer": ((Running, "__post_init__"),),
    "finding the cut, filling the store": ((Execution, "enter_phase"),),
}


@dataclass
class Shares:
    """Add up the seconds that each part takes by itself: what it calls of another part counts there."""

    clock: Clock
    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    running: list[str] = field(default_factory=lambda: [OTHER])
    since: float = 0.0
    paused: bool = False

    def switch(self) -> None:
        """Give what passed since the last switch to the part that is running."""
        now = self.clock.read()
        self.spent[self.running[-1]] += now - self.since
        self.since = now

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that counts for a part."""

        def run(*args: Any, **kwargs: Any) -> Any:
            if self.paused:
                return function(*args, **kwargs)
            self.switch()
            self.running.append(name)
            try:
                return function(*args, **kwargs)
            finally:
                self.switch()
                self.running.pop()

        return run

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Put clocks around the parts of the trainer within the block."""
        with ExitStack() as stack:
            for name, places in (PARTS | ONCE).items():
                for owner, method in places:
                    wrapped = self.timed(name, getattr(owner, method))
                    stack.enter_context(patch.object(owner, method, wrapped))
            self.since = self.clock.read()
            yield
            self.switch()


@dataclass
class Limits:
    """Hold the seconds of one epoch in three other ways, one number per repeat."""

    suffix: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    trainer: list[float] = field(default_factory=list)


def parts_of(spec: Spec, clock: Clock, between: Callable[[], None]) -> dict[str, float]:
    """Run a spec; return the seconds of each part per epoch, and of what is done once.

    ``between`` is called after each epoch, and does not count.
    """
    setup, shares = prepare(spec), Shares(clock)

    def pause(event: Event) -> None:
        if isinstance(event, EpochDone):
            shares.switch()
            shares.paused = True
            with torch.random.fork_rng():
                between()
            shares.paused, shares.since = False, clock.read()

    with tempfile.TemporaryDirectory() as place, shares.watching():
        Session(setup, RunFolder(Path(place) / "run"), pause).run()
    return {name: shares.spent[name] / EPOCHS for name in (*PARTS, OTHER)} | {
        name: shares.spent[name] for name in ONCE
    }


def ways(setup: Setup, clock: Clock, limits: Limits) -> Callable[[], None]:
    """Return what trains one epoch in each of the other ways, on the batches of our first epoch."""
    rows = [part.rows for parts in setup.phases[0].course.epoch_parts(0) for part in parts]
    given, split = batches_of(setup, rows), setup.data["train"][TASK]
    truths = [split.target(chosen, setup.device) for chosen in rows]
    upper, batches = _upper(setup, given)
    suffix, whole = Steps(upper.train()), Steps(setup.model.train())

    def epoch(steps: Steps, inputs: list[dict[str, Any]]) -> None:
        for batch, truth in zip(inputs, truths, strict=True):
            steps.take(batch, truth)

    def run() -> None:
        limits.suffix.append(clock.seconds(partial(epoch, suffix, batches)))
        limits.plain.append(clock.seconds(partial(epoch, whole, given)))
        limits.trainer.append(trainer_epoch(setup, clock, "sequential"))

    return run


def _upper(setup: Setup, given: list[dict[str, Any]]) -> tuple[torch.nn.Module, list[dict[str, Any]]]:
    """Return what trains, cut out of the model, and what it is trained on."""
    prefix = setup.plan.phases[0].frozen_prefix
    if prefix.whole_backbone:
        setup.model.eval()
        return upper_half(setup.model, prefix.of), [
            {"pooled": item} for item in run_whole(setup.model, given)
        ]
    hidden = run_lower(lower_half(setup.model, prefix.layers), given)
    batches = [
        {"inputs_embeds": states, "attention_mask": batch["attention_mask"]}
        for states, batch in zip(hidden, given, strict=True)
    ]
    return upper_half(setup.model, prefix.layers), batches


def lines(case: str, parts: Mapping[str, float], limits: Limits) -> Iterator[str]:
    """Yield the table of one case: the parts of an epoch, what is done once, and the limits."""
    epoch = sum(seconds for name, seconds in parts.items() if name not in ONCE)
    yield f"{case}: seconds of an epoch"
    for name, seconds in parts.items():
        if name not in ONCE:
            yield f"  {name:36}{seconds:9.3f}{seconds / epoch:8.1%}"
    yield f"  {'together':36}{epoch:9.3f}"
    for name in ONCE:
        yield f"  {'once: ' + name:36}{parts[name]:9.3f}"
    suffix, plain, trainer = (median(found) for found in (limits.suffix, limits.plain, limits.trainer))
    yield f"  {'above the cut alone, by hand':36}{suffix:9.3f}   an epoch of ours takes {epoch / suffix:.2f} x it"
    yield f"  {'the whole model, by hand':36}{plain:9.3f}   {plain / suffix:.2f} x it: the limit of any store"
    ratios = f"{trainer / suffix:.2f} x it, {trainer / epoch:.2f} x ours"
    yield f"  {'the Trainer, the same batches':36}{trainer:9.3f}   {ratios}"


def main() -> None:
    """Read the command line, measure the cases and print them."""
    made = parser("parts", repeats=1)
    made.add_argument("--case", choices=CASES, action="append", help="only this case; repeatable")
    asked = made.parse_args()
    clock, record = set_one_thread(), {}
    with tempfile.TemporaryDirectory() as folder:
        files = write_sentences(asked.data, Path(folder), asked.sentences)
        for name in asked.case or ["1/2 frozen"]:
            spec = spec_of(files, rules_of(FROZEN[name]), train={"epochs": EPOCHS})
            setup, limits = prepare(spec), Limits()
            if not record:
                counts = setup.data["train"][TASK].lengths.tolist()
                print(f"MiniLM, {lengths_line(counts)}, {asked.repeats} repeats; {clock.unit}", flush=True)
            between = ways(setup, clock, limits)
            found = [parts_of(spec, clock, between) for _ in range(asked.repeats)]
            parts = {key: median(item[key] for item in found) for key in found[0]}
            print(*lines(name, parts, limits), sep="\n", flush=True)
            record[name] = {"parts": parts, "limits": vars(limits)}
    write_json(asked.json, record)


if __name__ == "__main__":
    main()
