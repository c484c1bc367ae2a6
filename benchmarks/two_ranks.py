"""Train in two processes and in one, in three ways of adding up gradients, and print how far they come apart.

``python -m benchmarks.two_ranks`` prints, for both mixings, the largest difference between the weights of the
two processes (it must be 0.0), the largest to one process on the same batches, and optimizer steps per second.
The ways are the trainer's own sum of all gradients after the last batch of a step, DistributedDataParallel (DDP)
wrapped anew at each phase, and DDP wrapped once over all that any phase trains. Nothing is dropped; phases thaw and
freeze again; a joint step runs backward twice.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn.parallel import DistributedDataParallel
from transformers import BertConfig, BertModel

from freezeplan.runs.events import ignore_events
from freezeplan.runs.run_folder import RunFolder
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec
from freezeplan.train.loop import Loop
from freezeplan.train.phases import _loop
from freezeplan.train.running import Running
from freezeplan.train.setup import prepare
from freezeplan.train.strategies.replicate import Replicate
from tests.train.phased import ALL, POOLER, TOP, phased_spec
from tests.train.ranked import on_two_ranks, write_spec
from tests.train.tiny import SPECIAL, WORDS, tiny_tokenizer, write_toy_data

MIXINGS = ("alternate", "joint")
# The last batch of a pass has two rows: DDP cannot take part in a step without any.
ROWS, BATCH = 98, 32
STEPS = 12
PHASES = [
    {"name": "heads", "steps": STEPS},
    {"name": "top", "steps": STEPS, "rule": [TOP]},
    {"name": "all", "steps": STEPS, "rule": [ALL, POOLER]},
    {"name": "top again", "steps": STEPS, "rule": [{"match": "backbone", "state": "frozen"}, TOP]},
]


class Averaged(Replicate):
    """Leave the gradients to DDP, which adds them up in each backward and divides by the number of processes."""

    def sum_gradients(self, tensors: object) -> None:
        """Do nothing: DDP has done it."""


def wrapped(run: Running) -> DistributedDataParallel:
    """Wrap the model as it is now."""
    return DistributedDataParallel(run.setup.model, find_unused_parameters=True, broadcast_buffers=False)


def summed(run: Running) -> Callable[[Loop], None]:
    """Change nothing: the trainer's own way."""
    return lambda loop: None


def wrapped_again(run: Running) -> Callable[[Loop], None]:
    """Wrap at each phase, after it was entered."""
    return lambda loop: set_wrapper(loop, wrapped(run))


def wrapped_once(run: Running) -> Callable[[Loop], None]:
    """Wrap before the first phase, with all that any phase trains."""
    trained = set(run.setup.plan.ever_trained)
    for name, tensor in run.setup.model.named_parameters():
        tensor.requires_grad_(name in trained)
    wrapper = wrapped(run)
    return lambda loop: set_wrapper(loop, wrapper)


def set_wrapper(loop: Loop, wrapper: DistributedDataParallel) -> None:
    """Let a loop train through DDP."""
    loop.forward.model = wrapper
    loop.strategy = Averaged(loop.strategy.accelerator)
    # Losses as many times too large: DDP divides their gradients by the number of processes.
    loop.weights = {task: weight * loop.ranks.count for task, weight in loop.weights.items()}


WAYS = {
    "sum after the step": summed,
    "DDP wrapped at each phase": wrapped_again,
    "DDP wrapped once": wrapped_once,
}


def train_phases(spec: Spec, way: Callable[[Running], Callable[[Loop], None]]) -> tuple[Running, float]:
    """Run the steps of all phases, without evaluation; returns the run and steps per second of the last three."""
    run = Running(prepare(spec), RunFolder(Path("never")), ignore_events)
    prepare_loop, seconds, steps = way(run), 0.0, 0
    for index, scheduled in enumerate(run.setup.phases):
        run.enter_phase()
        run.ledger.begin_phase(index)
        loop = _loop(run)
        prepare_loop(loop)
        began = time.perf_counter()
        while run.position.phase_step < scheduled.steps:
            loop.run_epoch()
        if index:
            seconds, steps = seconds + time.perf_counter() - began, steps + scheduled.steps
        if index + 1 < len(run.setup.phases):
            run.position.next_phase(replace(loop.course).taken(scheduled.steps))
        # DDP that somebody still holds when the next phase begins is asked to follow it.
        loop.forward.model = run.setup.model
        del loop
    return run, steps / seconds


def work(spec: Spec, out: Path, ways: list[str]) -> None:
    """Train in some ways, and write down this process's weights and speed."""
    for number, way in enumerate(ways):
        run, speed = train_phases(spec, WAYS[way])
        stem = f"{number}-{run.ranks.number}"
        save_file({n: t.detach().clone() for n, t in run.setup.model.named_parameters()}, out / f"{stem}.st")
        (out / f"{stem}.json").write_text(json.dumps(speed))


def largest(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
    """Return the largest absolute difference between two sets of tensors."""
    return max(float((left[name] - value).abs().max()) for name, value in right.items())


def make_inputs(folder: Path, rows: int, layers: int = 4, heads: int = 4) -> None:
    """Write a BERT without dropout, 32 wide a head, its tokenizer, and rows."""
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=32 * heads,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=128 * heads,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    BertModel(config).save_pretrained(folder / "bert")
    tiny_tokenizer().save_pretrained(folder / "bert")
    write_toy_data(folder, train=rows)


def spec_of(folder: Path, mixing: str) -> Spec:
    """Return the spec of one comparison."""
    spec = phased_spec(
        folder,
        PHASES,
        train={"batch_size": BATCH, "mixing": mixing, "clip_norm": 1.0, "store": "off"},
        optimizer={"name": "sgd", "lr": 0.01, "momentum": 0.9},
    )
    return spec.model_copy(update={"task": [task.model_copy(update={"dropout": 0.0}) for task in spec.task]})


def compare(folder: Path, mixing: str) -> bool:
    """Train in all ways and print a line for each; returns whether the trainer's processes hold the same bits."""
    path = write_spec(spec_of(folder, mixing), folder / f"{mixing}.toml")
    one, two = folder / f"{mixing}-one", folder / f"{mixing}-two"
    one.mkdir()
    two.mkdir()
    torch.set_num_threads(1)
    work(load_spec(path), one, ["sum after the step"])
    ran = on_two_ranks("benchmarks.two_ranks", "--work", path, two)
    if ran.returncode:
        print(ran.stderr)
        return False
    reference, equal = load_file(one / "0-0.st"), True
    print(f"{mixing:<10} {'one process':<26} {'':>12} {'':>16} {_speed(one / '0-0.json'):>8}")
    for number, way in enumerate(WAYS):
        first, second = (load_file(two / f"{number}-{rank}.st") for rank in (0, 1))
        apart = largest(first, second)
        equal = equal and (number > 0 or apart == 0.0)
        speed = _speed(two / f"{number}-0.json")
        print(f"{mixing:<10} {way:<26} {apart:>12.1e} {largest(first, reference):>16.1e} {speed:>8}")
    return equal


def _speed(path: Path) -> str:
    return f"{json.loads(path.read_text()):.1f}"


def main() -> int:
    """Compare, or do one process's part of it."""
    if sys.argv[1:2] == ["--work"]:
        work(load_spec(Path(sys.argv[2])), Path(sys.argv[3]), list(WAYS))
        return 0
    print(f"{'mixing':<10} {'gradients':<26} {'ranks differ':>12} {'from one process':>16} {'steps/s':>8}")
    with tempfile.TemporaryDirectory() as name:
        make_inputs(Path(name), ROWS)
        return 0 if all([compare(Path(name), mixing) for mixing in MIXINGS]) else 1


if __name__ == "__main__":
    sys.exit(main())
