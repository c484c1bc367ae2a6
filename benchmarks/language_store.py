"""Train a language model over the store and with transformers' Trainer: the same frozen layers, batches and epochs.

``python -m benchmarks.language_store [--data FOLDER] [--rows N] [--epochs N] [--vocabulary N,N] [--json FILE]`` trains
the last of six layers of a Llama of 384 numbers with random weights, its head frozen as its embedding is, on sentences
of English Web Treebank: on all of their tokens, and on their second halves as completions of the first. It prints how
many times longer transformers' Trainer takes with ``LlamaForCausalLM`` whose other layers are frozen in the same way.
Both get the same rows in the same batches, AdamW (fused), clipping and rate. Ours counts all that it does after data
and model are loaded: filling the store, hashes and a checkpoint for every epoch. The Trainer saves nothing; two of its
epochs are run, and N epochs count N times the median. Neither evaluates.

What no store can spare is the last layer and the head over the vocabulary. What the head takes of an epoch is printed
too: for the tokens that are learned, and for the logits of all tokens at once, as the Trainer works them out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

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
END = "<|end|>"
FORMS: dict[str, dict[str, str]] = {
    "all tokens": {"text": "text"},
    "completions": {"prompt": "prompt", "completion": "completion"},
}


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


def save_model(folder: Path, texts: Iterable[str], vocabulary: int) -> None:
    """Save a random Llama and a tokenizer of bytes that was trained on the texts.

    Its vocabulary may hold fewer pieces than the model's; the head is as wide as is said.
    """
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=min(vocabulary, 8192),
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token=END,
        pad_token=END,
        model_max_length=128,
        model_input_names=["input_ids", "attention_mask"],
    )
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=6,
        num_attention_heads=6,
        max_position_embeddings=128,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=True,
    )
    torch.manual_seed(1)
    with quiet():
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def spec_of(folder: Path, form: str, epochs: int) -> Spec:
    """Return the spec that trains the last layer."""
    rules = [
        {"name": "everything", "match": "**", "state": "frozen"},
        {"name": "top", "match": ["@layers[-1:]", "@final_norm"], "state": "trainable"},
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


def trainer_epochs(setup: Setup, folder: Path, clock: Clock) -> list[float]:
    """Train a few epochs with a Trainer; return what each took, from its first step to its last."""
    times = EachEpoch(clock)
    trained = set(setup.plan.names(0, trainable=True))
    with tempfile.TemporaryDirectory() as place, quiet():
        model = AutoModelForCausalLM.from_pretrained(folder / "model")
        for name, tensor in model.model.named_parameters():
            tensor.requires_grad_(f"backbone.{name}" in trained)
        trainer = trainer_on(setup, model, place, epochs=THEIR_EPOCHS, device=clock.device)
        trainer.add_callback(times)
        trainer.train()
    return times.found


def spared_by_nothing(setup: Setup, clock: Clock) -> tuple[float, float]:
    """Return the seconds of an epoch in the head alone, forward and backward: ours, and over all logits at once."""
    split = setup.data["train"][TASK]
    forward = Forward(setup.model, setup.encoder, setup.device)
    ours = whole = 0.0
    for parts in setup.phases[0].course.epoch_parts(0):
        rows = parts[0].rows
        with torch.no_grad():
            out = forward.outputs(TASK, split, rows)
        target = split.target(rows, setup.device)
        out.states = out.states.detach().requires_grad_()
        ours += clock.seconds(lambda out=out, target=target: out.loss(target).backward())
        out.states.grad = None

        def all_at_once(out: Any = out, target: Any = target) -> None:
            logits = out.whole().float().flatten(0, 1)
            labels = torch.full((len(logits),), -100)
            labels[target[:, 0]] = target[:, 1]
            torch.nn.functional.cross_entropy(logits, labels).backward()

        whole += clock.seconds(all_at_once)
    return ours, whole


def lines(epochs: int, ours: OurRun, theirs: list[float], heads: tuple[float, float]) -> list[str]:
    """Return the ratios, then the seconds behind them."""
    saving = median(epoch.saving for epoch in ours.epochs)
    return [
        f"  {epochs} epochs       {at_least(epochs * median(theirs) / ours.seconds, TARGET)}",
        f"  a later epoch  {median(theirs) / ours.later_steps:7.2f}x",
        f"  seconds of an epoch: Trainer {median(theirs):.2f}; ours {ours.later_steps:.2f} in steps and {saving:.2f} "
        "for hashes and saving,",
        f"  after {ours.epochs[0].choosing:.2f} for the cut and the store, {ours.rest:.2f} at the end; "
        f"{ours.seconds:.1f} in all",
        f"  of it in the head: {heads[0]:.2f} for what is learned; {heads[1]:.2f} for all logits at once",
        *(f"  {line}" for line in ours.statements),
    ]


def measure(folder: Path, form: str, vocabulary: int, epochs: int, clock: Clock) -> dict[str, Any]:
    """Run both sides, and print what came out."""
    spec = spec_of(folder, form, epochs)
    setup = prepare(spec)
    split = setup.data["train"][TASK]
    learned, tokens = int(split.targets.counts.sum()), int(split.inputs.lengths.sum())
    what = f"{len(split)} rows, {tokens:,} tokens, {learned:,} of them learned"
    print(f"vocabulary of {vocabulary:,}, {form}: {what}; {clock.unit}", flush=True)
    heads = spared_by_nothing(setup, clock)
    ours = timed_run(spec, clock)
    theirs = trainer_epochs(setup, folder, clock)
    print(*lines(epochs, ours, theirs, heads), sep="\n", flush=True)
    ratio = epochs * median(theirs) / ours.seconds
    return {"vocabulary": vocabulary, "form": form, "ratio": ratio, "theirs": theirs, "ours": ours.seconds}


def main() -> None:
    """Read the command line, run all, and print what came out."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.language_store")
    made.add_argument("--data", type=Path, default=SHARED, help="folder of the data sets")
    made.add_argument("--rows", type=int, default=640, help="sentences (default: 640)")
    made.add_argument("--epochs", type=int, default=5, help="epochs of a run (default: 5)")
    made.add_argument("--vocabulary", default="8192,32000", help="sizes of the head (default: 8192,32000)")
    made.add_argument("--json", type=Path, help="also write the numbers to a file")
    asked = made.parse_args()
    clock, rows, found = set_one_thread(), rows_in(asked.data, asked.rows), []
    for vocabulary in map(int, asked.vocabulary.split(",")):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            save_model(folder / "model", (row["text"] for row in rows), vocabulary)
            (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
            found += [measure(folder, form, vocabulary, asked.epochs, clock) for form in FORMS]
    write_json(asked.json, found)


if __name__ == "__main__":
    main()
