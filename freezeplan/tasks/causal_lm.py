"""Causal language modelling: the next token of a text, by the model's own head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from freezeplan.tasks.kind import LOSS, PLAIN, Answering, Metric, Scorer, TaskKind

if TYPE_CHECKING:
    import torch

    from freezeplan.tasks.next_tokens import NextTokens
    from freezeplan.tasks.token_logits import TokenLogits

STOCK = "AutoModelForCausalLM"


class CausalLM(TaskKind):
    """Learn the next token, everywhere in a text or in completions alone: cross-entropy over the vocabulary.

    Its head is the model's own. What that puts out is ``(rows, tokens, vocabulary)`` numbers, or a
    :class:`TokenLogits` that stands for them.
    """

    name = "causal_lm"
    output = ""
    said = "the model's own head"
    fewest = 0
    takes_labels = False
    own_head = True
    terms_vary = True
    most_columns = 0
    metrics = (Metric("perplexity", falls=True), Metric("accuracy"), LOSS)
    stock = dict.fromkeys(("text", "prompt", "messages"), STOCK)

    def role(self, columns: int) -> str:
        """Return nothing: its rows have no target columns."""
        return ""

    def named_by_columns(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Return no names: its outputs are the tokens of the model's vocabulary."""
        return ()

    def encode(self, columns: Sequence[Any], labels: Sequence[str], encoded: Any = None) -> NextTokens:
        """Return the tokens that each row learns, all but its first one where it learns all of them."""
        from freezeplan.tasks.next_tokens import next_tokens

        return next_tokens(encoded.numbers("input_ids"), encoded.numbers("learned"), encoded.ends)

    def terms(self, targets: Any, rows: Sequence[int]) -> int:
        """Return one term per token that is learned."""
        return int(targets.counts[list(rows)].sum())

    def content(self, targets: Any) -> Any:
        """Return the marks of all tokens; the tokens themselves are the rows' inputs."""
        return targets.learned

    def head(self, hidden: int, labels: Sequence[str], dropout: float) -> torch.nn.Module:
        """Raise ``TypeError``: the model has the head."""
        raise TypeError("the head of a language model is the model's own")

    def collate(self, targets: Any, rows: Sequence[int], device: torch.device) -> torch.Tensor:
        """Return the targets of some rows ``(targets, 2)``: the place of the token before, and the token's number."""
        import torch

        return torch.from_numpy(targets.padded(rows)).to(device)

    def blank(self, out: Any) -> torch.Tensor:
        """Return the first token of the vocabulary after each token but the last of each row."""
        import torch

        rows, tokens = token_logits(out).states.shape[:2]
        places = torch.arange(rows * tokens).reshape(rows, tokens)[:, : max(1, tokens - 1)].flatten()
        return torch.stack([places, torch.zeros_like(places)], dim=1)

    def losses(self, out: Any, target: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy of each learned token, without a gradient."""
        return token_logits(out).scored(target)[0]

    def loss(self, out: Any, target: torch.Tensor) -> torch.Tensor:
        """Return the sum of the cross-entropy of all learned tokens."""
        return token_logits(out).loss(target)

    def scorer(self, labels: Sequence[str]) -> Scorer:
        """Return an empty count of tokens."""
        from freezeplan.tasks.token_tally import TokenTally

        return TokenTally()

    def answers(self, out: Any, labels: Sequence[str], form: Answering = PLAIN) -> list[dict[str, Any]]:
        """Return the text that was generated for each row; ``out`` holds these."""
        return [{"completion": text} for text in out]


def token_logits(out: Any) -> TokenLogits:
    """Return outputs in the form that gives them token by token; logits that are there stand for themselves."""
    from freezeplan.tasks.token_logits import TokenLogits

    return out if isinstance(out, TokenLogits) else TokenLogits(out, lambda states: states, out.shape[-1])
