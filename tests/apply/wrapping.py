"""Tiny real models, the wrappers that people put around them, and two steps of training through both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import transformers
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from freezeplan.inventory.names import canonical_parameters
from freezeplan.outside.quiet import quiet

SMALL = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
TEXT = {"vocab_size": 20, "max_position_embeddings": 16, **SMALL}
IDS = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
LABELS = torch.tensor([0, 1])
MODELS: dict[str, tuple[str, str, dict[str, Any], dict[str, torch.Tensor]]] = {
    "bert": ("bert", "BertForSequenceClassification", TEXT | STILL, {"input_ids": IDS, "labels": LABELS}),
    "llama": (
        "llama",
        "LlamaForCausalLM",
        TEXT | {"num_key_value_heads": 1, "tie_word_embeddings": True},
        {"input_ids": IDS, "labels": IDS},
    ),
    "vit": (
        "vit",
        "ViTForImageClassification",
        SMALL | STILL | {"image_size": 8, "patch_size": 4},
        {"pixel_values": torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8), "labels": LABELS},
    ),
}


def tiny(name: str) -> Any:
    """Build one of the models with the same random weights each time."""
    model_type, class_name, settings, _ = MODELS[name]
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(transformers, class_name)(transformers.CONFIG_MAPPING[model_type](**settings))


def layers_of(model: Any) -> nn.ModuleList:
    """Return the list of a model's layers."""
    return next(m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == 3)


def each_layer(model: Any, wrap: Callable[[nn.Module], nn.Module]) -> Any:
    """Wrap every layer of a model."""
    layers = layers_of(model)
    for place in range(len(layers)):
        layers[place] = wrap(layers[place])
    return model


def sharded(model: Any) -> Any:
    """Shard a model as people do: every layer, then the root."""
    mesh = init_device_mesh("cpu", (1,))
    for layer in layers_of(model):
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def compiled(module: nn.Module) -> Any:
    """Compile by dynamo alone, without a code generator."""
    return torch.compile(module, backend="eager")


def checkpointing(model: Any) -> Any:
    """Switch on the activation checkpointing of transformers itself."""
    model.activation_checkpointing_enable()
    return model


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "ddp": nn.parallel.DistributedDataParallel,
    "fsdp2": sharded,
    "compiled whole": compiled,
    "compiled by block": lambda model: each_layer(model, compiled),
    "checkpoint wrapper": lambda model: each_layer(model, checkpoint_wrapper),
    "checkpointing": checkpointing,
    "fsdp2 over checkpoints": lambda model: sharded(each_layer(model, checkpoint_wrapper)),
    "ddp over compiled blocks": lambda model: nn.parallel.DistributedDataParallel(
        each_layer(model, compiled)
    ),
}


@contextmanager
def one_process(folder: Path) -> Iterator[None]:
    """Be a process group of one; its store is a file, so no port is taken."""
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy of a tensor's values, gathered if it is sharded."""
    full = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full.detach().clone()


def values(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return copies of all parameters by canonical name, tied ones under each."""
    return {name: whole(tensor) for name, _, tensor in canonical_parameters(model)}


def train(name: str, model: Any, optimizer: torch.optim.Optimizer, steps: int = 2) -> set[str]:
    """Take some steps on a model's own batch; return the canonical names of what moved."""
    before = values(model)
    for _ in range(steps):
        model.train()
        model(**MODELS[name][3]).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return {key for key, value in values(model).items() if not torch.equal(value, before[key])}
