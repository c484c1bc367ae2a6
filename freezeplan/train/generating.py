"""What a language model of a run goes on with: greedy completions of texts, prompts and conversations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch

from freezeplan.data.conversations import ASSISTANT, conversation_flaw, messages_in
from freezeplan.data.modality import MESSAGES
from freezeplan.data.values import text_flaw
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import first_line
from freezeplan.outside.quiet import quiet
from freezeplan.prefix.examples import rows_at_once
from freezeplan.tasks.flaws import Flaw
from freezeplan.train.encoding import ANOTHER, TextEncoder, most_tokens
from freezeplan.train.failures import explained
from freezeplan.train.saved_run import SavedRun
from freezeplan.train.tokens import IDS, MASK

MOST_NEW = 64
"""How many tokens a completion has at most, unless it is said."""


def completions(
    run: SavedRun,
    device: torch.device,
    inputs: Iterable[Any],
    tasks: Sequence[str],
    most: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield what the model goes on with for each input, in their order: at each place the most probable token.

    ``inputs`` are texts; for a run that learned conversations also lists of messages, of which those of the assistant
    at the end are left out. A completion ends before the tokenizer's end token, after ``most`` tokens (64), or where
    the model's positions end. Raises ``DiagnosticError``: FP530 for an input that cannot be used, named by its
    number, FP531 where the logits are no numbers.
    """
    encoder = run.encoder_for(tasks)
    name = encoder.kind.takes[0]
    longest = most_tokens(encoder.tokenizer, run.model.backbone)
    rest, done = iter(inputs), 0
    while batch := list(islice(rest, rows_at_once(device.type, run.batch_size))):
        prompts = [_checked(encoder, value, number, longest) for number, value in enumerate(batch, done + 1)]
        texts = _generated(run, device, tasks[0], prompts, most or MOST_NEW, longest)
        answers = run.kinds[tasks[0]].answers(texts, ())
        for value, answer in zip(batch, answers, strict=True):
            yield {name: value, **{task: dict(answer) for task in tasks}}
        done += len(batch)


def _checked(encoder: TextEncoder, value: Any, number: int, longest: int) -> list[int]:
    try:
        found = prompt_ids(encoder, value)
    except Exception as error:  # whatever a tokenizer, or a chat template, says of a text
        found = Flaw("text that the tokenizer refuses", first_line(error), ANOTHER)
    if not isinstance(found, Flaw) and len(found) >= longest:
        advice = f"the model takes {longest} tokens, its answer included"
        found = Flaw(f"a text of {len(found)} tokens: there is no room for an answer", advice=advice)
    if isinstance(found, Flaw):
        usual = encoder.kind.advice.replace("every row", "every input")
        detail = f": {found.detail}" if found.detail else ""
        message = f"input {number} is {found.what}{detail}"
        raise DiagnosticError([diagnostic("FP530", message, help=found.advice or usual)])
    return found


def prompt_ids(encoder: TextEncoder, value: Any) -> list[int] | Flaw:
    """Return the tokens that an input begins with, without the end that the tokenizer puts behind texts."""
    if encoder.kind is MESSAGES:
        return _asked(encoder, value)
    flaw = text_flaw(value)
    if flaw is not None:
        return flaw
    tokenizer = encoder.tokenizer
    ids = list(tokenizer(value, padding=False, truncation=False, verbose=False)[IDS])
    ends = {tokenizer.eos_token_id, tokenizer.sep_token_id}
    if tokenizer.num_special_tokens_to_add(pair=False) and len(ids) > 1 and ids[-1] in ends:
        ids = ids[:-1]
    return encoder.flaw_in(ids) or ids


def _asked(encoder: TextEncoder, value: Any) -> list[int] | Flaw:
    """Return a conversation up to where the assistant speaks; a text is one message of the user."""
    messages = messages_in(value)
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    flaw = conversation_flaw(messages)
    while flaw is None and messages and messages[-1]["role"] == ASSISTANT:
        messages = messages[:-1]
    if flaw is not None or not messages:
        return flaw or Flaw("a conversation in which only the assistant speaks")
    found = encoder.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
    return encoder.flaw_in(found[IDS]) or list(found[IDS])


@torch.no_grad()
def _generated(
    run: SavedRun, device: torch.device, task: str, prompts: Sequence[list[int]], most: int, longest: int
) -> list[str]:
    tokenizer = run.encoder.tokenizer
    end = tokenizer.eos_token_id
    filler = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end or 0
    width = max(map(len, prompts))
    ids = torch.tensor([[filler] * (width - len(prompt)) + prompt for prompt in prompts], device=device)
    mask = torch.tensor(
        [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device
    )
    with explained(), quiet(), run.model.heads[task].assembled(run.model.backbone) as whole:
        found = whole.generate(
            **{IDS: ids, MASK: mask},
            do_sample=False,
            num_beams=1,
            max_new_tokens=min(most, longest - width),
            eos_token_id=end,
            pad_token_id=filler,
            logits_processor=[_Finite(run, task)],
        )
    return [tokenizer.decode(_until(row, end), skip_special_tokens=True) for row in found[:, width:].tolist()]


def _until(ids: list[int], end: int | None) -> list[int]:
    return ids[: ids.index(end)] if end in ids else ids


class _Finite:
    """Let logits pass as they are; raise ``DiagnosticError`` (FP531) where one is no number."""

    def __init__(self, run: SavedRun, task: str) -> None:
        self.run, self.task = run, task

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if scores.isnan().any():
            message = f"the model gives no numbers for task `{self.task}`: its outputs hold NaN"
            advice = "train again with lower rates; of float16, prefer bfloat16 or float32"
            note = f"the run is `{self.run.folder}`"
            raise DiagnosticError([diagnostic("FP531", message, help=advice, notes=[note])])
        return scores
