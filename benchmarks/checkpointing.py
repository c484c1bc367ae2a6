"""Print what a step of gradient checkpointing keeps for its backward pass under a plan, beside plain freezing.

``python -m benchmarks.checkpointing`` trains a Llama of 12 small layers of which 11 are frozen, and an encoder alike,
inside the Trainer and with what TRL switches on, reentrant or not. *stock* freezes by ``requires_grad = False``
alone. The bytes are those of all tensors that a training step's forward made and that are alive when it ends; the
columns behind them count the modules in which dropout was on, with the plan those of frozen layers alone (0).
"""

from __future__ import annotations

import logging
import re
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import PrinterCallback, Trainer, TrainingArguments

import freezeplan
from freezeplan.outside.quiet import quiet

LAYERS, WIDTH, ROWS, TOKENS = 12, 32, 4, 64
SIZES = {
    "vocab_size": 64,
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "max_position_embeddings": TOKENS,
}
DROPPING = {"attention_dropout": 0.1}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("llama", "LlamaForCausalLM", DROPPING | {"num_key_value_heads": 2, "use_cache": False}),
    "bert": ("bert", "BertForSequenceClassification", {}),
}
TRAINS = {"top": "@layers[-1:]", "bottom": "@layers[:1]"}
REENTRANT = {"non-reentrant": False, "reentrant": True}
MOST = 1.05


class Kept(TorchDispatchMode):
    """Know the storage of every tensor that was made inside, and count the bytes of those still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note what it gives."""
        given = function(*args, **(kwargs or {}))
        for item in tree_leaves(given):
            if isinstance(item, torch.Tensor):
                storage = item.untyped_storage()
                self.made[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        return given

    def alive(self) -> int:
        """Return the bytes of what is still there."""
        return sum(size for reference, size in self.made.values() if not reference.expired())


class Measuring(Trainer):
    """Note what the first step's forward keeps."""

    kept = 0

    def compute_loss(self, model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
        """Compute the loss as ever."""
        with Kept() as counted:
            loss = super().compute_loss(model, inputs, *more, **named)
        self.kept = self.kept or counted.alive()
        return loss


class Dropping:
    """Find the frozen modules in which dropout is on as a step runs."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.found: set[str] = set()
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Dropout) or hasattr(module, "attention_dropout"):
                module.register_forward_hook(self._seen(name))

    def _seen(self, name: str) -> Callable[..., None]:
        def note(module: Any, inputs: Any, output: Any) -> None:
            if module.training:
                self.found.add(name)

        return note


def build(kind: str) -> Any:
    """Build one of the models with the same random weights each time."""
    model_type, class_name, more = MODELS[kind]
    config = transformers.CONFIG_MAPPING[model_type](**SIZES, **more)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(transformers, class_name)(config)


def spec_of(what: str) -> dict[str, Any]:
    """Return a spec that trains one layer."""
    rules = [{"match": "**", "state": "frozen"}, {"match": TRAINS[what], "state": "trainable"}]
    return {"optimizer": {"lr": 1e-3}, "rule": rules}


def freeze(model: Any, what: str, ours: bool) -> torch.optim.Optimizer:
    """Freeze all but one layer, by a plan or as people do, and return an optimizer over the rest."""
    spec = spec_of(what)
    if ours:
        return torch.optim.AdamW(freezeplan.build_param_groups(model, spec))
    trained = freezeplan.compile_plan(model, spec).names(trainable=True)
    for name, tensor in model.named_parameters():
        tensor.requires_grad_(name in trained)
    return torch.optim.AdamW([tensor for tensor in model.parameters() if tensor.requires_grad], lr=1e-3)


def rows(kind: str) -> list[dict[str, Any]]:
    """Return rows of random tokens."""
    draw = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 64, (2 * ROWS, TOKENS), generator=draw).tolist()
    return [{"input_ids": row, "labels": row if kind == "llama" else row[0] % 2} for row in tokens]


def asked_by_trl(model: Any) -> None:
    """Ask for the hooks before the Trainer does, as TRL's trainers do when they are built."""
    model.enable_input_require_grads()


def train(kind: str, what: str, *, ours: bool, reentrant: bool, trl: bool) -> tuple[int, set[str], set[str]]:
    """Train two steps; returns the bytes kept, where dropout was on, and what moved."""
    model = build(kind)
    optimizer = freeze(model, what, ours)
    if trl:
        asked_by_trl(model)
    watching = Dropping(model)
    before = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    with tempfile.TemporaryDirectory() as folder, quiet():
        settings = TrainingArguments(
            folder,
            max_steps=2,
            per_device_train_batch_size=ROWS,
            activation_checkpointing=True,
            activation_checkpointing_kwargs={"use_reentrant": reentrant},
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            bf16=trl,
        )
        trainer = Measuring(model, settings, train_dataset=rows(kind), optimizers=(optimizer, None))
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    moved = {name for name, tensor in model.named_parameters() if not torch.equal(tensor, before[name])}
    return trainer.kept, watching.found, moved


def compare(kind: str, what: str, reentrant: str, trl: bool) -> bool:
    """Print one line; returns whether it is as it must be."""
    both = [train(kind, what, ours=ours, reentrant=REENTRANT[reentrant], trl=trl) for ours in (False, True)]
    (stock, dropping, stock_moved), (kept, dropout, moved) = both
    trained = LAYERS - 1 if what == "top" else 0
    # The dropout between BERT and its head has no parameters and follows the whole model, which is not frozen.
    frozen = [name for name in dropout if name != "dropout" and not re.search(rf"layers?\.{trained}\.", name)]
    host = "TRL's" if trl else "Trainer"
    print(
        f"{kind:<6} {what:<7} {host:<8} {reentrant:<14} {stock:>11,} {kept:>11,} {kept / stock:>7.3f} "
        f"{len(dropping):>8} {len(frozen):>8} {'equal' if moved == stock_moved else 'differs':>8}"
    )
    return kept <= MOST * stock and not frozen and moved == stock_moved


def main() -> int:
    """Compare all; fail where more is kept than :data:`MOST` times stock's, or dropout is on in what is frozen."""
    transformers.logging.set_verbosity_error()
    logging.getLogger("freezeplan").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    print(
        f"{'model':<6} {'trains':<7} {'host':<8} {'checkpointing':<14} {'stock, B':>11} {'plan, B':>11} {'ratio':>7} "
        f"{'dropout':>8} {'in plan':>8} {'moved':>8}"
    )
    cases = [(k, w, r, t) for k in MODELS for w in TRAINS for r in REENTRANT for t in (False, True)]
    return 0 if all([compare(*case) for case in cases]) else 1


if __name__ == "__main__":
    sys.exit(main())
