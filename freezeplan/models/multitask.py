"""The model of a spec with tasks: one backbone and one head per task."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from math import prod
from typing import Any

import torch
from torch import nn

from freezeplan.models.native import READ, BackboneOutput, NativeHead
from freezeplan.models.precision import computing_in
from freezeplan.tasks.heads import LinearHead
from freezeplan.tasks.token_logits import TokenLogits


class MultiTaskModel(nn.Module):
    """Route a batch through one backbone, a pooling, and the head of its task.

    ``backbone`` is any module whose output has ``last_hidden_state`` (or is a tensor or a tuple that starts
    with it); ``heads`` maps task names to ``(number of labels, dropout)``, or to a head as a module; ``hidden`` is
    the size of the backbone's output; ``pooling`` is ``mean`` (over real tokens), ``max`` (of each number over
    them), ``cls`` (first real token) or ``last`` (last real token), whichever side is padded. Outputs that are a map
    (channels, height, width) are averaged over space (``max``: their largest) whatever it says. ``over_words``
    names the tasks whose head reads each token's state, ``over_vocabulary`` those of the model's own head.
    ``precision`` is what all of it computes in: ``float32``, ``bf16`` or ``fp16``.

    >>> model = MultiTaskModel(nn.Embedding(10, 4), 4, {"topic": (3, 0.0)})
    >>> model(task="topic", input=torch.tensor([[1, 2]])).shape
    torch.Size([1, 3])
    """

    # What structure discovery asks of a model: the base, then the heads.
    freezeplan_parts = ("backbone", "heads")

    def __init__(
        self,
        backbone: nn.Module,
        hidden: int,
        heads: Mapping[str, tuple[int, float] | nn.Module],
        pooling: str = "mean",
        over_words: Collection[str] = (),
        over_vocabulary: Collection[str] = (),
        precision: str = "float32",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleDict(
            {
                name: head if isinstance(head, nn.Module) else LinearHead(hidden, *head)
                for name, head in heads.items()
            }
        )
        self.hidden = hidden
        self.pooling = pooling
        self.over_words = frozenset(over_words)
        self.over_vocabulary = frozenset(over_vocabulary)
        self.precision = precision
        self._layout: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def pools(self) -> bool:
        """Whether one vector per row is all that the heads read.

        Native heads read the backbone's whole output, heads over words a state for each token.
        """
        return not self.over_words and self.splits

    @property
    def splits(self) -> bool:
        """Whether each head reads either pooled vectors or the states of tokens, and nothing else of the output."""
        return not any(isinstance(head, NativeHead) for head in self.heads.values())

    def forward(
        self,
        task: str | None = None,
        pooled: torch.Tensor | None = None,
        *,
        by_token: bool = False,
        no_heads: bool = False,
        **inputs: Any,
    ) -> torch.Tensor | TokenLogits | dict[str, torch.Tensor]:
        """Return the logits ``(batch, labels)`` of ``task``; without a task, a dict of every task's logits.

        ``pooled`` of shape ``(batch, hidden)`` stands in for the backbone, which then does not run. ``by_token`` asks
        for the :class:`TokenLogits` of a task over the vocabulary: they are not worked out yet. With ``no_heads`` it is
        what :meth:`pool` returns.
        """
        if no_heads:
            return self.pool(**inputs)
        with self._computing():
            pooled = self.pool(**inputs) if pooled is None else pooled
            if task is not None:
                return self.token_logits(task, pooled) if by_token else self.logits(task, pooled, inputs)
            return {name: self.logits(name, pooled, inputs) for name in self.heads}

    def _computing(self) -> AbstractContextManager[object]:
        return computing_in(self.precision, next(self.parameters()).device)

    def computed(self, work: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Return what some work gives that uses this model's tensors after its forward pass, as a head's loss does.

        What wraps a model and watches its methods sees the work, and what comes out.
        """
        return work()

    def pool(self, **inputs: Any) -> torch.Tensor:
        """Run the backbone and return what the heads read as one tensor: one vector per example, ``(batch, hidden)``.

        With native heads it is the backbone's whole output, laid out flat, one row per example; what stands at
        padding, which no head may read, is 0.
        """
        with self._computing():
            output = self._put_out(inputs)
            return self.pooled(output, inputs) if self.pools else self._flat(output, inputs)

    def vectors(self, **inputs: Any) -> torch.Tensor:
        """Run the backbone and return one pooled vector per example, ``(batch, hidden)``, whatever the heads read."""
        with self._computing():
            return self.pooled(self._put_out(inputs), inputs)

    def layer_states(self, **inputs: Any) -> tuple[torch.Tensor, ...]:
        """Run the backbone and return its hidden states after each layer, what it embeds before; none if it tells none.

        They are transformers' ``hidden_states``, ``(batch, tokens, hidden)`` each.
        """
        if not hasattr(self.backbone, "config"):
            return ()
        output = self._trunk()(**inputs, output_hidden_states=True)
        return tuple(getattr(output, "hidden_states", None) or ())

    def states(self, **inputs: Any) -> torch.Tensor:
        """Run the backbone and return its last hidden states as they are: of texts ``(batch, tokens, hidden)``."""
        with self._computing():
            return _states(self._put_out(inputs))

    def pooled(self, output: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return one vector per example, ``(batch, hidden)``, of what the backbone has put out for ``inputs``."""
        states = _states(output)
        if states.dim() == 4:
            return self._over_space(states)
        return self._over_tokens(states, inputs.get("attention_mask")) if states.dim() == 3 else states

    def answer(self, task: str, **inputs: Any) -> torch.Tensor:
        """Run the backbone and one task's own head on what it reads; returns what :meth:`forward` returns.

        Nothing in it depends on the values of tensors, nor on the heads of other tasks: it can be traced.
        """
        output = self._trunk()(**inputs)
        if task in self.over_words:
            return self.heads[task](_states(output))
        return self.heads[task](self.pooled(output, inputs))

    def logits(
        self, task: str, pooled: torch.Tensor, inputs: Mapping[str, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Return the logits of one task for what :meth:`pool` returned for ``inputs``: ``(batch, labels)``.

        Of a task over words they are ``(batch, tokens, labels)``, of one over the vocabulary as many for each token.
        """
        if task in self.over_vocabulary:
            return self.token_logits(task, pooled).whole()
        with self._computing():
            return self._logits(self.heads[task], task, pooled, inputs)

    def _logits(
        self, head: nn.Module, task: str, pooled: torch.Tensor, inputs: Mapping[str, torch.Tensor] | None
    ) -> torch.Tensor:
        if self.pools:
            return head(pooled)
        parts = self.parts(pooled)
        if isinstance(head, NativeHead):
            read = {name: parts[name] for name in READ if name in parts}
            return head(BackboneOutput(**read), inputs or {})
        return head(parts["last_hidden_state" if task in self.over_words else "pooled"])

    def token_logits(self, task: str, pooled: torch.Tensor) -> TokenLogits:
        """Return what stands for the logits of a task over the vocabulary, for what :meth:`pool` returned."""
        head = self.heads[task]
        states = self.parts(pooled)["last_hidden_state"]

        def of_states(some: torch.Tensor) -> torch.Tensor:
            with self._computing():
                return head.of_states(some)

        return TokenLogits(states, of_states, head.outputs, list(head.parameters()))

    def _flat(self, output: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        parts = {name: getattr(output, name, None) for name in READ}
        parts["last_hidden_state"] = _without_padding(_states(output), inputs.get("attention_mask"))
        if any(self._reads_pooled(name) for name in self.heads):
            parts["pooled"] = self.pooled(output, inputs)
        return self.laid_out({name: part for name, part in parts.items() if part is not None})

    def laid_out(self, parts: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return parts of the backbone's output as :meth:`pool` does, for :meth:`logits` to read: a row per example."""
        self._layout = tuple((name, tuple(part.shape[1:])) for name, part in parts.items())
        flat = [part.flatten(1) for part in parts.values()]
        return flat[0] if len(flat) == 1 else torch.cat(flat, dim=1)

    def _reads_pooled(self, task: str) -> bool:
        return task not in self.over_words and not isinstance(self.heads[task], NativeHead)

    def parts(self, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the parts of what :meth:`pool` returned last: ``last_hidden_state``, ``pooled`` and so on."""
        pieces = flat.split([prod(shape) for _, shape in self._layout], dim=1)
        return {
            name: piece.reshape(-1, *shape) for (name, shape), piece in zip(self._layout, pieces, strict=True)
        }

    def _trunk(self) -> nn.Module:
        """Return the part of the backbone that reads the input: of an encoder-decoder, its encoder."""
        if getattr(getattr(self.backbone, "config", None), "is_encoder_decoder", False):
            return self.backbone.get_encoder()
        return self.backbone

    def _put_out(self, inputs: Mapping[str, torch.Tensor]) -> Any:
        """Return what the backbone puts out for ``inputs``; a decoder keeps no keys and values of tokens to come."""
        trunk = self._trunk()
        without = {"use_cache": False} if "use_cache" in inspect.signature(trunk.forward).parameters else {}
        return trunk(**inputs, **without)

    def _over_tokens(self, states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        if mask is None or mask.shape != states.shape[:2]:
            return self._over_all(states)
        if self.pooling in ("cls", "last"):
            return states[torch.arange(len(states), device=states.device), self._place(mask)]
        if self.pooling == "max":
            # A text without a real token gives zeros, as its mean does.
            padding = mask.unsqueeze(-1) == 0
            largest = states.masked_fill(padding, torch.finfo(states.dtype).min).amax(dim=1)
            return largest.masked_fill(padding.all(dim=1), 0.0)
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)

    def _over_all(self, states: torch.Tensor) -> torch.Tensor:
        if self.pooling in ("cls", "last"):
            return states[:, 0 if self.pooling == "cls" else -1]
        return states.amax(dim=1) if self.pooling == "max" else states.mean(dim=1)

    def _place(self, mask: torch.Tensor) -> torch.Tensor:
        """Return the place of the first, or last, real token of each row."""
        if self.pooling == "cls":
            return (mask != 0).to(torch.int64).argmax(dim=1)
        return (torch.arange(mask.shape[1], device=mask.device) * mask).argmax(dim=1)

    def _over_space(self, states: torch.Tensor) -> torch.Tensor:
        space = (2, 3) if states.shape[1] == self.hidden else (1, 2)
        return states.amax(dim=space) if self.pooling == "max" else states.mean(dim=space)


def _states(output: Any) -> torch.Tensor:
    """Return the hidden states in what a backbone puts out."""
    states = getattr(output, "last_hidden_state", None)
    if states is None:
        states = output if isinstance(output, torch.Tensor) else output[0]
    return states


def _without_padding(states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    if mask is None or mask.shape != states.shape[:2]:
        return states
    return states.masked_fill(mask.unsqueeze(-1) == 0, 0.0)
