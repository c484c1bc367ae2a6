"""Logits of a language model's own head for some tokens, a few tokens at a time: all of them would fill the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy, log_softmax

from freezeplan.tasks.products import fast_products

NUMBERS_ON_CPU = 1 << 23
NUMBERS_ON_DEVICE = 1 << 26
Head = Callable[[torch.Tensor], torch.Tensor]


class TokenLogits:
    """Stand for the logits ``(rows, tokens, vocabulary)`` of a head that reads the state of each token.

    ``states`` are ``(rows, tokens, hidden)``; ``head`` maps states ``(some, hidden)`` to logits ``(some, vocabulary)``,
    ``weights`` are its parameters. Targets are ``(targets, 2)`` whole numbers: the place of a token, counted over all
    rows, and the number of the token that it should tell.
    """

    def __init__(
        self, states: torch.Tensor, head: Head, vocabulary: int, weights: Sequence[torch.Tensor] = ()
    ) -> None:
        self.states, self.head, self.vocabulary = states, head, vocabulary
        self.weights = [weight for weight in weights if weight.requires_grad]
        self._scored: tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]] | None = None

    def __len__(self) -> int:
        return len(self.states)

    def float(self) -> TokenLogits:
        """Return itself: the logits that it gives are float32."""
        return self

    def whole(self) -> torch.Tensor:
        """Return all logits at once."""
        rows, tokens, _ = self.states.shape
        return self.head(self.states.flatten(0, 1)).reshape(rows, tokens, -1)

    def loss(self, target: torch.Tensor) -> torch.Tensor:
        """Return the sum of the cross-entropy of all targets, a scalar in float32.

        Where gradients are asked for, those of each chunk are worked out as soon as its logits are there.
        """
        weights = self.weights if torch.is_grad_enabled() else []
        size = self._at_once(max((weight.numel() for weight in weights), default=0))
        return _SummedLoss.apply(self.head, size, target[:, 1], self._chosen(target), *weights)

    def scored(self, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the cross-entropy of each target, and whether the most probable token is the one that it names."""
        if self._scored is None or self._scored[0] is not target:
            self._scored = (target, self._scores(target))
        return self._scored[1]

    @torch.no_grad()
    def _scores(self, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        losses, hits = [target.new_zeros(0, dtype=torch.float32)], [target.new_zeros(0, dtype=torch.bool)]
        for states, codes in _chunks(self._chosen(target), target[:, 1], self._at_once()):
            with fast_products(states.device):
                logits = self.head(states).float()
            losses.append(cross_entropy(logits, codes, reduction="none"))
            hits.append(logits.argmax(dim=-1) == codes)
        return torch.cat(losses), torch.cat(hits)

    def _chosen(self, target: torch.Tensor) -> torch.Tensor:
        return self.states.flatten(0, 1).index_select(0, target[:, 0])

    def _at_once(self, weight: int = 0) -> int:
        """Return how many tokens have their logits at the same time, where a weight of so many numbers learns.

        Each chunk is one more pass over the gradient of that, so on a CPU a chunk's logits may be as many.
        """
        on_cpu = self.states.device.type == "cpu"
        numbers = max(NUMBERS_ON_CPU, weight) if on_cpu else NUMBERS_ON_DEVICE
        return max(1, numbers // self.vocabulary)


def _chunks(
    states: torch.Tensor, codes: torch.Tensor, size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for start in range(0, len(states), size):
        yield states[start : start + size], codes[start : start + size]


class _SummedLoss(torch.autograd.Function):
    """Sum cross-entropies over chunks of tokens; each chunk's gradients are worked out in the forward pass.

    So no chunk's logits are kept, and none are computed twice. Source: Hsu et al., Liger Kernel: Efficient Triton
    Kernels for LLM Training, 2024, https://arxiv.org/abs/2410.10989, section 3.2 (FusedLinearCrossEntropy).
    """

    @staticmethod
    def forward(
        ctx: Any,
        head: Head,
        size: int,
        codes: torch.Tensor,
        states: torch.Tensor,
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float32, device=states.device)
        ctx.wanted = [number for number, asked in enumerate(ctx.needs_input_grad[3:]) if asked]
        inputs = (states, *weights)
        # Without a target no chunk gives a gradient; a process that has none still takes part in the sum over all.
        still = [number for number in ctx.wanted if number == 0 or not len(states)]
        ctx.sums = {number: torch.zeros_like(inputs[number]) for number in still}
        for start in range(0, len(states), size):
            part = slice(start, start + size)
            loss, found = _with_gradients(head, states[part], codes[part], weights, ctx.wanted)
            total += loss
            for number, gradient in zip(ctx.wanted, found, strict=True):
                if gradient is not None and number == 0:
                    ctx.sums[0][part] = gradient
                elif gradient is not None:
                    # Not in place: of two weights that are added to each other the gradients are one tensor.
                    before = ctx.sums.get(number)
                    ctx.sums[number] = gradient.float() if before is None else before + gradient
        ctx.kinds = {number: inputs[number].dtype for number in ctx.wanted}
        return total

    @staticmethod
    def backward(ctx: Any, *given: torch.Tensor) -> tuple[Any, ...]:
        (scale,) = given
        found = [None] * len(ctx.needs_input_grad)
        for number, gradient in ctx.sums.items():
            found[3 + number] = (gradient * scale).to(ctx.kinds[number])
        return tuple(found)


def _with_gradients(
    head: Head,
    states: torch.Tensor,
    codes: torch.Tensor,
    weights: Sequence[torch.Tensor],
    wanted: Sequence[int],
) -> tuple[torch.Tensor, Sequence[torch.Tensor | None]]:
    states = states.detach().requires_grad_(0 in wanted)
    with fast_products(states.device):
        with torch.set_grad_enabled(bool(wanted)):
            logits = head(states).float()
        loss, gradient = _of_logits(logits.detach(), codes, bool(wanted))
        chosen = [(states, *weights)[number] for number in wanted]
        return loss, torch.autograd.grad(logits, chosen, gradient, allow_unused=True) if chosen else ()


def _of_logits(
    logits: torch.Tensor, codes: torch.Tensor, with_gradient: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the summed cross-entropy of logits ``(some, vocabulary)`` and its gradient: softmax less one at the code.

    Both come of one array beside the logits.
    """
    logs, codes = log_softmax(logits, dim=-1), codes.unsqueeze(1)
    loss = -logs.gather(1, codes).sum()
    if not with_gradient:
        return loss, None
    gradient = logs.exp_()
    return loss, gradient.scatter_add_(1, codes, gradient.new_full(codes.shape, -1.0))
