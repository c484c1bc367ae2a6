"""Train a language model over the store and with transformers' Trainer: the same frozen layers and epochs.

``python -m benchmarks.language_store [--data FOLDER] [--rows N] [--epochs N] [--model llama|gpt2] [--hidden N]
[--vocabulary N,N] [--head frozen|trained] [--their-batches ours|own] [--json FILE]`` trains the last of six layers of
a Llama with random weights (or of a GPT-2 as transformers has it by default, dropout included), on sentences of English
Web Treebank: on all of their tokens, and on their second halves as completions of the first. Its head is frozen as its
embedding is, which it is tied to; ``--head trained`` unties it, and it learns. Printed is how many times longer
transformers' Trainer takes with the stock model, frozen in the same way. Both get the same rows in the same batches of
similar lengths, AdamW (fused), clipping and rate. ``--their-batches own`` also gives the Trainer its own defaults:
random batches, padded to their longest row. It can group rows by length too, if it is told to.

Ours counts all that it does after data and model are loaded: filling the store, hashes and a checkpoint for every
epoch. The Trainer saves nothing; two of its epochs are run, and N epochs count N times the median. Twice as many epochs
are worked out, on both sides, from those that were run. Neither evaluates.

What no store can spare is the last layer and the head over the vocabulary: printed is also what the ratio to the same
batches would be if matrix products were all, and both sides took the same. Then what the head takes of an epoch: for
the tokens that are learned, the same with the matrix products that torch takes by itself, and for the logits of all
tokens at once, as the Trainer works them out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.language_models import HEADS, LAYERS, config_of, save_model, stock_model
from benchmarks.minilm import SHARED
from benchmarks.our_run import OurRun, timed_run
from benchmarks.same_batches import trainer_on
from benchmarks.timing import Clock, at_least, set_one_thread, write_json
from benchmarks.token_store import EachEpoch
from freezeplan.api import load_spec
from freezeplan.outside.quiet import quiet
from freezeplan.spec.tables import Spec
from freezeplan.train.forward import Forward
from freezeplan.train.setup import Setup, prepare

TASK = "story"
TARGET = 2.5
THEIR_EPOCHS = 2
OURS, OWN = "ours", "own"
AGAINST = {
    OURS: "the Trainer on the same batches",
    OWN: "the Trainer by default: random batches (it can group by length too)",
}
FORMS: dict[str, dict[str, str]] = {
    "all tokens": {"text": "text"},
    "completions": {"prompt": "prompt", "completion": "completion"},
}


@dataclass(frozen=True)
class HeadSeconds:
    """Hold what the head alone takes of an epoch, forward and backward.

    ``ours`` is for the tokens that are learned, ``plain`` the same with torch's usual products, ``whole`` for the
    logits of all tokens at once.
    """

    ours: float
    plain: float
    whole: float


def rows_in(folder: Path, most: int) -> list[dict[str, str]]:
    """Return sentences of eight words or more, as texts, and as prompts with completions."""
    found = []
    for line in (folder / "ewt_upos" / "train.jsonl").read_text("utf-8").splitlines():
        words = json.loads(line)["tokens"]
        middle = len(words) // 2
        prompt, rest = " ".join(words[:middle]), " " + " ".join(words[middle:])
        if len(words) >= 8:
            found.append({"text": prompt + rest, "prompt": prompt, "completion": rest})
    return found[:most]


def spec_of(folder: Path, form: str, epochs: int, head: str) -> Spec:
    """Return the spec that trains the last layer, and the head if that is not frozen."""
    learning = ["@layers[-1:]", "@final_norm", *(["heads"] if head == "trained" else [])]
    rules = [
        {"name": "everything", "match": "**", "state": "frozen"},
        {"name": "top", "match": learning, "state": "trainable"},
    ]
    data = {"train": str(folder / "rows.jsonl")} | FORMS[form]
    return load_spec(
        {
            "model": {"source": str(folder / "model")},
            "optimizer": {"name": "adamw", "lr": 1e-3},
            "schedule": {"name": "constant"},
            "rule": rules,
            "task": [{"name": TASK, "kind": "causal_lm", "data": data}],
            "train": {"epochs": epochs, "batch_size": 16, "clip_norm": 1.0, "length_buckets": True},
        }
    )


def trainer_epochs(setup: Setup, folder: Path, clock: Clock, batches: str) -> list[float]:
    """Train a few epochs with a Trainer; return what each took, from its first step to its last."""
    times = EachEpoch(clock)
    with tempfile.TemporaryDirectory() as place, quiet():
        model = stock_model(folder / "model", setup.plan.names(0, trainable=True))
        trainer = trainer_on(
            setup, model, place, epochs=THEIR_EPOCHS, device=clock.device, shuffled=batches == OWN
        )
        trainer.add_callback(times)
        trainer.train()
    return times.found


@contextmanager
def usual_products() -> Iterator[None]:
    """Let torch take the matrix products within the block that it takes by itself."""
    enabled, torch.backends.mkldnn.enabled = torch.backends.mkldnn.enabled, False
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = enabled


def spared_by_nothing(setup: Setup, clock: Clock) -> HeadSeconds:
    """Return the seconds of an epoch in the head alone, over the batches of the first epoch."""
    split = setup.data["train"][TASK]
    forward = Forward(setup.model, setup.encoder, setup.device)
    ours = plain = whole = 0.0
    for parts in setup.phases[0].course.epoch_parts(0):
        rows = parts[0].rows
        with torch.no_grad():
            out = forward.outputs(TASK, split, rows)
        target = split.target(rows, setup.device)
        out.states = out.states.detach().requires_grad_()

        def learned(out: Any = out, target: Any = target) -> None:
            out.loss(target).backward()

        def all_at_once(out: Any = out, target: Any = target) -> None:
            logits = out.whole().float().flatten(0, 1)
            labels = torch.full((len(logits),), -100)
            labels[target[:, 0]] = target[:, 1]
            torch.nn.functional.cross_entropy(logits, labels).backward()

        ours += clock.seconds(learned)
        with usual_products():
            plain += clock.seconds(learned)
        whole += clock.seconds(all_at_once)
    setup.model.zero_grad(set_to_none=True)
    return HeadSeconds(ours, plain, whole)


def ratios(epochs: int, ours: OurRun, theirs: float) -> list[float]:
    """Return how many times longer they take over the epochs that were run, over twice as many, and in a later one."""
    return [
        epochs * theirs / ours.seconds,
        2 * epochs * theirs / ours.lasting(2 * epochs),
        theirs / ours.later_steps,
    ]


def by_products(setup: Setup, epochs: int, head_learns: bool) -> tuple[float, float]:
    """Return the ratios, over some epochs and in a later one, of the multiplications in layers and head alone.

    A layer that is frozen goes forward, one that learns also back to its weights and to its states; so does the head.
    """
    split, head = setup.data["train"][TASK], setup.model.heads[TASK]
    learned, tokens = int(split.targets.counts.sum()), int(split.inputs.lengths.sum())
    top = setup.plan.names(0, trainable=True)
    layer = sum(
        item.numel() for name, item in setup.model.backbone.named_parameters() if f"backbone.{name}" in top
    )
    in_head = head.outputs * setup.model.hidden * (3 if head_learns else 2)
    below = tokens * (LAYERS - 1) * layer
    theirs, ours = below + tokens * (3 * layer + in_head), tokens * 3 * layer + learned * in_head
    return epochs * theirs / (epochs * ours + below), theirs / ours


def ratio_lines(epochs: int, ours: OurRun, theirs: list[float], batches: str) -> list[str]:
    """Return the ratios to a Trainer, one a line."""
    run, longer, later = ratios(epochs, ours, median(theirs))
    return [
        f"  against {AGAINST[batches]}, {median(theirs):.2f} s an epoch",
        f"    {epochs:2} epochs (run)         {at_least(run, TARGET)}",
        f"    {2 * epochs:2} epochs (worked out)  {at_least(longer, TARGET)}",
        f"    a later epoch         {later:7.2f}x",
    ]


def lines(ours: OurRun, heads: HeadSeconds, bounds: tuple[float, float]) -> list[str]:
    """Return the seconds behind the ratios."""
    saving = median(epoch.saving for epoch in ours.epochs)
    return [
        f"  by matrix products alone, on the same batches: {bounds[0]:.2f}x in {len(ours.epochs)} epochs, "
        f"{bounds[1]:.2f}x in a later one",
        f"  our seconds of an epoch: {ours.later_steps:.2f} in steps, {saving:.2f} for hashes and saving,",
        f"  after {ours.epochs[0].choosing:.2f} for the cut and the store, {ours.rest:.2f} at the end; "
        f"{ours.seconds:.1f} in all",
        f"  of an epoch in the head: {heads.ours:.2f} for what is learned ({heads.plain:.2f} by torch's usual "
        f"products); {heads.whole:.2f} for all logits at once",
        *(f"  {line}" for line in ours.statements),
    ]


def measure(folder: Path, form: str, asked: argparse.Namespace, clock: Clock) -> dict[str, Any]:
    """Run both sides, and print what came out."""
    spec = spec_of(folder, form, asked.epochs, asked.head)
    setup = prepare(spec)
    split = setup.data["train"][TASK]
    learned, tokens = int(split.targets.counts.sum()), int(split.inputs.lengths.sum())
    print(f"{form}: {len(split)} rows, {tokens:,} tokens, {learned:,} of them learned", flush=True)
    heads = spared_by_nothing(setup, clock)
    ours = timed_run(spec, clock)
    theirs = {}
    for batches in (OURS, OWN) if asked.their_batches == OWN else (OURS,):
        theirs[batches] = trainer_epochs(setup, folder, clock, batches)
        print(*ratio_lines(asked.epochs, ours, theirs[batches], batches), sep="\n", flush=True)
    bounds = by_products(setup, asked.epochs, asked.head == "trained")
    print(*lines(ours, heads, bounds), sep="\n", flush=True)
    found = {batches: ratios(asked.epochs, ours, median(epochs)) for batches, epochs in theirs.items()}
    return {"form": form, "ratios": found, "theirs": theirs, "ours": ours.seconds}


def _asked() -> argparse.Namespace:
    made = argparse.ArgumentParser(prog="python -m benchmarks.language_store")
    made.add_argument("--data", type=Path, default=SHARED, help="folder of the data sets")
    made.add_argument("--rows", type=int, default=640, help="sentences (default: 640)")
    made.add_argument("--epochs", type=int, default=5, help="epochs of a run (default: 5)")
    made.add_argument(
        "--model", choices=("llama", "gpt2"), default="llama", help="architecture (default: llama)"
    )
    made.add_argument("--hidden", type=int, default=384, help="numbers of a state (default: 384)")
    made.add_argument("--vocabulary", default="8192,32000", help="sizes of the head (default: 8192,32000)")
    made.add_argument("--head", choices=HEADS, default=HEADS[0], help="tied and frozen, or trained")
    made.add_argument("--their-batches", choices=(OURS, OWN), default=OURS, help="own: also by its defaults")
    made.add_argument("--json", type=Path, help="also write the numbers to a file")
    return made.parse_args()


def main() -> None:
    """Read the command line, run all, and print what came out."""
    asked, clock = _asked(), set_one_thread()
    rows, found = rows_in(asked.data, asked.rows), []
    for vocabulary in map(int, asked.vocabulary.split(",")):
        what = f"{asked.model} of {asked.hidden}, vocabulary of {vocabulary:,}, head {asked.head}"
        print(f"{what}; {clock.unit}", flush=True)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            config = config_of(asked.model, asked.hidden, vocabulary, tied=asked.head == "frozen")
            save_model(folder / "model", config, (row["text"] for row in rows))
            (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
            found += [
                {"what": what, "vocabulary": vocabulary} | measure(folder, form, asked, clock)
                for form in FORMS
            ]
    write_json(asked.json, found)


if __name__ == "__main__":
    main()
