"""How much memory a run over many short rows takes, and whether it grows from one epoch to the next.

``python -m benchmarks.million_rows --before /path/to/another/checkout`` trains the same spec with this checkout
and with the other, each in a process of its own, and prints the peak of resident memory up to the end of each
epoch (Linux: ``VmHWM``, set back after an epoch so that the next has a peak of its own).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# As many words as the vocabularies of common encoders hold.
WORDS = [f"w{number}" for number in range(30_000)]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
LABELS = ("one", "two", "three")
MOST_TASKS = 4
ROOT = Path(__file__).parents[1]
MIB = 2**20
FEW = 1000


def make_rows(path: Path, rows: int, seed: int = 1) -> None:
    """Write short rows, 6 to 18 words each, as JSON lines."""
    chance = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(rows):
            text = " ".join(chance.choices(WORDS, k=chance.randint(6, 18)))
            labels = {f"label{task}": chance.choice(LABELS) for task in range(MOST_TASKS)}
            file.write(json.dumps({"text": text} | labels) + "\n")


def make_model(folder: Path) -> None:
    """Write a BERT of one layer and width 8 with one token per word."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *WORDS])}
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=len(vocabulary), max_position_embeddings=32, **size)).save_pretrained(
        folder
    )
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    inner.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=inner, **names).save_pretrained(folder)


def spec_of(folder: Path, tasks: int, frozen: bool) -> dict[str, Any]:
    """Return the spec that both sides train: everything, or, with a store, the heads alone.

    All tasks read the same texts; an epoch gives each of them every row.
    """
    data = {"train": str(folder / "train.jsonl")}
    rules = [{"match": "**", "state": "trainable"}]
    if frozen:
        rules = [{"match": "**", "state": "frozen"}, {"match": "heads", "state": "trainable"}]
    return {
        "model": {"source": str(folder / "model")},
        "optimizer": {"lr": 1e-3},
        "train": {"epochs": 2, "batch_size": 512, "seed": 1},
        "task": [{"name": f"t{n}", "data": data | {"label": f"label{n}"}} for n in range(tasks)],
        "rule": rules,
    }


def run_side(folder: Path, out: Path, tasks: int, frozen: bool) -> None:
    """Train in this process, with the freezeplan that is first on the path; print the peaks as JSON."""
    from freezeplan.spec.reading import load_spec
    from freezeplan.train.run import train

    peaks: list[int] = []

    def watch(event: Any) -> None:
        if type(event).__name__ == "EpochDone":
            peaks.append(peak_bytes())
            Path("/proc/self/clear_refs").write_text("5")

    train(load_spec(spec_of(folder, tasks, frozen)), out, watch)
    print(json.dumps({"peaks": peaks, "seconds": sum(os.times()[:2])}))


def peak_bytes() -> int:
    """Return the most resident memory of this process since it was last set back."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def measure(name: str, checkout: Path, folder: Path, tasks: int, frozen: bool) -> list[int]:
    """Train with one checkout in a process of its own, print what it took, and return the peaks in bytes."""
    command = [
        sys.executable,
        str(Path(__file__).resolve()),
        "--side",
        str(folder),
        "--out",
        str(folder / name),
    ]
    settings = {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run(
        [*command, "--tasks", str(tasks), *["--frozen"] * frozen],
        cwd=folder,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    shown = ", ".join(
        f"epoch {number}: {peak / MIB:,.0f} MiB" for number, peak in enumerate(found["peaks"], 1)
    )
    print(f"{name:>14}  peak in {shown}; {found['seconds']:,.0f} CPU s", flush=True)
    return found["peaks"]


def main() -> None:
    """Read the command line, and measure one side or two."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--tasks", type=int, default=2, choices=range(1, MOST_TASKS + 1))
    parser.add_argument("--before", type=Path, help="another checkout, to compare with")
    parser.add_argument("--frozen", action="store_true", help="train the head alone, from a store")
    parser.add_argument("--side", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        run_side(given.side, given.out, given.tasks, given.frozen)
        return
    with tempfile.TemporaryDirectory(prefix="million-") as name:
        folder = Path(name)
        make_model(folder / "model")
        make_rows(folder / "train.jsonl", FEW)
        floor = max(measure(f"now, {FEW} rows", ROOT, folder, given.tasks, given.frozen))
        make_rows(folder / "train.jsonl", given.rows)
        now = measure("now", ROOT, folder, given.tasks, given.frozen)
        print(f"epoch 2 / epoch 1: {now[1] / now[0]:.2f}; the rows take {(max(now) - floor) / MIB:,.0f} MiB")
        if given.before:
            before = measure("before", given.before.resolve(), folder, given.tasks, given.frozen)
            print(f"now / before, peak of the run: {max(now) / max(before):.2f}")


if __name__ == "__main__":
    main()
