"""The head that transformers has for an architecture and a task, on a backbone that tasks share."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions

READ = ("last_hidden_state", "pooler_output")
"""What a head may read of its backbone's output, in the order of transformers' own outputs."""


class Unbuildable(ValueError):
    """Say, as one plain clause, why an architecture has no native head here."""


class BackboneOutput(BaseModelOutputWithPoolingAndCrossAttentions):
    """Stand for the output of any base model: what it does not hold (a cache, say) is None."""

    def __getattr__(self, name: str) -> Any:
        """Return None for a field that outputs of other base models have."""
        if name.startswith("__"):
            raise AttributeError(name)
        return None


class _Given(nn.Module):
    """Stand in for the base model inside a stock model: return what the shared backbone has put out."""

    output: Any = None

    @property
    def decoder(self) -> _Given:
        """The same: some stock models call the decoder in their base model by itself (OPT)."""
        return self

    def forward(self, *_: Any, **__: Any) -> Any:
        return self.output


class NativeHead(nn.Module):
    """Run all of a stock model but its base: its modules, its forward, its way of finding the last token.

    ``stock`` is an instance of a class of transformers such as ``BertForSequenceClassification``; its base model
    is taken out of it. The parameters bear the names that they have there (``classifier.weight``). ``unpadded``
    says that its config names no padding token, by which heads of decoders find the last real one.
    """

    def __init__(self, stock: Any, unpadded: bool = False) -> None:
        super().__init__()
        self.unpadded = unpadded
        given = _Given()
        setattr(stock, stock.base_model_prefix, given)
        for name, child in stock.named_children():
            if child is not given:
                self.add_module(name, child)
        self._parameters = stock._parameters
        # Beside torch's registry: its tensors are this module's own, under their own names.
        self.__dict__["stock"] = stock
        self.__dict__["given"] = given
        self.names = frozenset(inspect.signature(type(stock).forward).parameters)

    def forward(self, output: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the logits for what the backbone has put out for ``inputs``."""
        self.stock.training = self.training
        self.given.output = output
        try:
            return self.stock(**self._accepted(inputs)).logits
        finally:
            self.given.output = None

    def of_states(self, states: torch.Tensor) -> torch.Tensor:
        """Return the logits ``(some, outputs)`` for the states ``(some, hidden)`` of single tokens."""
        return self(BackboneOutput(last_hidden_state=states.unsqueeze(0)), {}).squeeze(0)

    @property
    def outputs(self) -> int:
        """How many tokens the vocabulary has that a language model's head tells apart."""
        config = self.stock.config.get_text_config()
        return config.vocab_size

    @contextmanager
    def assembled(self, backbone: nn.Module) -> Iterator[Any]:
        """Yield the whole stock model, the backbone in its place."""
        name = self.stock.base_model_prefix
        setattr(self.stock, name, backbone)
        try:
            yield self.stock
        finally:
            setattr(self.stock, name, self.given)

    def _accepted(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        found = {name: value for name, value in inputs.items() if name in self.names}
        mask = inputs.get("attention_mask")
        if self.unpadded and mask is not None and "input_ids" in found:
            # The model does not know its padding token: the mask tells real tokens (1) from padding (0).
            found["input_ids"] = mask.to(found["input_ids"].dtype)
        return found

    def draw_(self, seed: int) -> None:
        """Draw the weights as transformers does for a new model of this class, by ``seed`` alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for module in self.stock.modules():
                module.__dict__.pop("_is_hf_initialized", None)
            self.stock.initialize_weights()


def native_head(chosen: Any, own: Any) -> NativeHead:
    """Return the head of a stock class for a config of its own (:func:`stock_config`), its weights not yet drawn.

    ``chosen`` is one of transformers' automatic classes, or a model class. Raises ``Unbuildable`` with a plain reason
    where the class has no head that stands on a base model.
    """
    unpadded = getattr(own, "pad_token_id", None) is None
    if unpadded:
        own.pad_token_id = 0
    place = torch.empty(()).device
    with torch.device("meta"):
        stock = build_stock(chosen, own)
    _check_base(stock)
    if "decoder_input_ids" in inspect.signature(stock.base_model.forward).parameters:
        raise Unbuildable("it reads the decoder, and only the encoder of the backbone runs")
    head = NativeHead(stock, unpadded)
    if not list(head.parameters()):
        raise Unbuildable(f"`{type(stock).__name__}` has no parameters beside its base model")
    return head if place.type == "meta" else head.to_empty(device=place)


def parted(stock: Any, hidden: int) -> tuple[nn.Module, NativeHead]:
    """Take a language model apart: its base model, and all else as a head; tensors that they share stay shared.

    ``hidden`` is the size of a state. Raises ``Unbuildable`` where the head does not read the states of tokens alone.
    """
    _check_base(stock)
    backbone, head = getattr(stock, stock.base_model_prefix), NativeHead(stock)
    tensor = next(backbone.parameters())
    states = torch.zeros(2, hidden, dtype=tensor.dtype, device=tensor.device)
    try:
        with torch.no_grad():
            found = head.of_states(states).shape
    except Exception as error:  # whatever a model's own code makes of a base model that is not there
        cause = str(error).strip().partition("\n")[0]
        raise Unbuildable(f"the head of `{type(stock).__name__}` does not stand alone: {cause}") from error
    if found != (2, head.outputs):
        raise Unbuildable(
            f"`{type(stock).__name__}` gives no logits of {head.outputs} tokens, but {tuple(found)}"
        )
    return backbone, head


def _check_base(stock: Any) -> None:
    prefix = stock.base_model_prefix
    if not prefix or prefix not in stock._modules:
        raise Unbuildable(f"`{type(stock).__name__}` holds no base model of its own")


def stock_config(config: Any, labels: Sequence[str], problem_type: str | None) -> Any:
    """Return a copy of a backbone's config that has the labels of one task, and its type in transformers' words."""
    own = copy.deepcopy(config)
    if not labels:
        return own
    own.id2label = dict(enumerate(labels))
    own.label2id = {label: index for index, label in enumerate(labels)}
    own.problem_type = problem_type
    # Of an architecture with several classes for a task, transformers looks here for the one to take.
    own.architectures = own.architectures or []
    return own


def build_stock(chosen: Any, config: Any) -> Any:
    """Build a model of a stock class from its config, on torch's present device."""
    if hasattr(chosen, "_model_mapping"):
        return chosen.from_config(config, trust_remote_code=False)
    return chosen._from_config(config)
