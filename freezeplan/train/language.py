"""Texts, prompts with completions and conversations as a language model learns them: tokens, and which are learned."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from freezeplan.data.conversations import ASSISTANT, conversation_flaw
from freezeplan.data.findings import Flaws
from freezeplan.data.modality import MESSAGES, PROMPT, TEXT, Kind
from freezeplan.data.split import Split
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.diagnostics.wording import counted, first_line, format_count, quoted
from freezeplan.models.looking_ahead import check_order
from freezeplan.spec.keys import SOURCE
from freezeplan.spec.tables import Spec
from freezeplan.tasks.flaws import Flaw
from freezeplan.train.encoding import ANOTHER, CHUNK, TextEncoder
from freezeplan.train.forward import EncodedSplit, in_eval_mode
from freezeplan.train.tokens import IDS, LEARNED, MASK, EncodedTexts, TokenWriter

GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
SILENT = {"verbose": False}
UNSTEADY = Flaw(
    "a conversation that the chat template writes otherwise once it goes on",
    advice="which tokens the assistant says cannot be told: give the template `{% generation %}` marks, "
    "or one answer to each row",
)
Marked = tuple[list[int], list[int]]
"""The tokens of a row, more than are kept where it has more, and a mark of 1 at those that are learned."""


def encode_language(encoder: TextEncoder, rows: Sequence[Any], form: Kind) -> EncodedTexts:
    """Tokenise rows and mark what is learned of them, cutting each at ``max_length`` tokens.

    Of a text all tokens are learned, of a prompt with a completion those of the completion, of a conversation what
    the assistant says. Texts and completions end with the tokenizer's own end token. Rows of which nothing is
    learned, though nothing is cut, are flaws, besides those of :meth:`TextEncoder.encode`.
    """
    writer = TokenWriter((*encoder.names, LEARNED), encoder.vocabulary)
    flaws, cut = Flaws(), 0
    for start in range(0, len(rows), CHUNK):
        lists: dict[str, list[list[int]]] = {name: [] for name in (*encoder.names, LEARNED) if name != MASK}
        found = _marked(encoder, rows[start : start + CHUNK], form)
        for row, item in enumerate(found, start + 1):
            ids, marks = ([0], [0]) if isinstance(item, Flaw) else item
            over = len(ids) > encoder.max_length
            ids, marks = ids[: encoder.max_length], marks[: encoder.max_length]
            flaw = item if isinstance(item, Flaw) else encoder.flaw_in(ids) or _idle(marks, over)
            if flaw is not None:
                flaws.add(row, flaw)
                ids = [0] * len(ids)
            cut += over
            for name in lists:
                lists[name].append({IDS: ids, LEARNED: marks}.get(name, [0] * len(ids)))
        writer.add(lists)
    return writer.done(flaws, cut)


@dataclass(frozen=True)
class LanguageEncoder(TextEncoder):
    """Tokenise rows as a language model learns them: whole, with their ends."""

    def flaw(self, value: Any) -> Flaw | None:
        """Say what a value is when it is no row of the encoder's kind."""
        return conversation_flaw(value) if self.kind is MESSAGES else super().flaw(value)

    def encode(self, texts: Sequence[Any]) -> EncodedTexts:
        """Return what :func:`encode_language` makes of rows."""
        return encode_language(self, texts, self.kind)


def language_encoder(encoder: TextEncoder, form: Kind) -> LanguageEncoder:
    """Return the encoder of a kind of rows that a language model learns."""
    return LanguageEncoder(**{**vars(encoder), "kind": form})


def _idle(marks: Sequence[int], over: bool) -> Flaw | None:
    if over or any(marks[1:]):
        return None
    return Flaw("text with no token to learn", advice="every row needs a token that has another before it")


def _marked(encoder: TextEncoder, rows: Sequence[Any], form: Kind) -> list[Marked | Flaw]:
    mark = MARKERS[form.name]
    try:
        return list(mark(encoder, rows))
    except Exception:  # tokenizers raise errors of many unrelated types, and do not say for which text
        return [_alone(mark, encoder, row) for row in rows]


def _alone(mark: Marker, encoder: TextEncoder, row: Any) -> Marked | Flaw:
    try:
        return next(iter(mark(encoder, [row])))
    except Exception as error:  # whatever a tokenizer, or a chat template, says of a text
        return Flaw("text that the tokenizer refuses", first_line(error), ANOTHER)


def token_ids(encoder: TextEncoder, texts: Sequence[str]) -> list[list[int]]:
    """Return the tokens of texts: all, or more than are kept."""
    short = [encoder.beginning(text) for text in texts]
    found = list(encoder.tokenizer(short, padding=False, truncation=False, verbose=False)[IDS])
    for row, (part, whole) in enumerate(zip(short, texts, strict=True)):
        if part is not whole and len(found[row]) <= encoder.max_length:
            found[row] = encoder.tokenizer(whole, padding=False, truncation=False, verbose=False)[IDS]
    return found


def _ended(encoder: TextEncoder, ids: list[int]) -> list[int]:
    end = encoder.tokenizer.eos_token_id
    return ids if end is None or ids[-1:] == [end] else [*ids, end]


def _texts(encoder: TextEncoder, texts: Sequence[str]) -> Iterator[Marked]:
    for ids in token_ids(encoder, texts):
        whole = _ended(encoder, ids)
        yield whole, [1] * len(whole)


def _completions(encoder: TextEncoder, pairs: Sequence[tuple[str, str]]) -> Iterator[Marked]:
    """Yield prompts with completions: what is learned begins at the first token that the prompt alone has not."""
    prompts = token_ids(encoder, [prompt for prompt, _ in pairs])
    wholes = token_ids(encoder, [prompt + completion for prompt, completion in pairs])
    for prompt, ids in zip(prompts, wholes, strict=True):
        shared = next(
            (place for place, (one, other) in enumerate(zip(prompt, ids, strict=False)) if one != other),
            min(len(prompt), len(ids)),
        )
        whole = _ended(encoder, ids)
        yield whole, [0] * shared + [1] * (len(whole) - shared)


def _conversations(
    encoder: TextEncoder, conversations: Sequence[list[dict[str, Any]]]
) -> Iterator[Marked | Flaw]:
    for messages in conversations:
        if _has_marks(encoder.tokenizer):
            found = encoder.tokenizer.apply_chat_template(
                messages, return_dict=True, return_assistant_tokens_mask=True, tokenizer_kwargs=SILENT
            )
            yield list(found[IDS]), list(found["assistant_masks"])
        else:
            yield _by_prefix(encoder, messages)


def _has_marks(tokenizer: Any) -> bool:
    return bool(GENERATION.search(tokenizer.get_chat_template()))


def _by_prefix(encoder: TextEncoder, messages: list[dict[str, Any]]) -> Marked | Flaw:
    """Mark what each message of the assistant adds to the conversation before it.

    The conversation up to each answer must be written as it stands in the whole; a template may leave out of earlier
    messages what it writes of the last one.
    """
    tokenizer = encoder.tokenizer
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    spans = []
    for place, message in enumerate(messages):
        if message["role"] != ASSISTANT:
            continue
        before = tokenizer.apply_chat_template(messages[:place], tokenize=False, add_generation_prompt=True)
        after = tokenizer.apply_chat_template(messages[: place + 1], tokenize=False)
        if not (after.startswith(before) and whole.startswith(after)):
            return UNSTEADY
        spans.append((len(before), len(after)))
    found = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True, **SILENT)
    marks = [int(_within(start, end, spans)) for start, end in found["offset_mapping"]]
    return list(found[IDS]), marks


def _within(start: int, end: int, spans: Sequence[tuple[int, int]]) -> bool:
    return any(end > first and start < last for first, last in spans)


Marker = Callable[[TextEncoder, Sequence[Any]], Iterator[Marked | Flaw]]
MARKERS: Mapping[str, Marker] = {
    TEXT.name: _texts,
    PROMPT.name: _completions,
    MESSAGES.name: _conversations,
}


def check_templates(spec: Spec, encoder: TextEncoder) -> None:
    """Refuse conversations (FP478) without a chat template, or with a tokenizer that does not say where a token is."""
    for index, task in enumerate(spec.task):
        problem = _template_problem(encoder.tokenizer) if task.data and task.data.messages else None
        if problem is not None:
            at = ("task", index, "data", "messages")
            raise spec.locations.error(at, "FP478", problem[0], help=problem[1])


def end_advice(spec: Spec, encoder: TextEncoder) -> tuple[Diagnostic, ...]:
    """Warn (FP483) of texts and completions that get no end, as the tokenizer has none."""
    if encoder.tokenizer.eos_token_id is not None:
        return ()
    names = [
        task.name
        for task in spec.task
        if task.own_head and task.data is not None and task.data.messages is None
    ]
    if not names:
        return ()
    who = f"the task {quoted(names)} does" if len(names) == 1 else f"the tasks {quoted(names)} do"
    message = f"the source's tokenizer has no end token: {who} not learn where a text ends"
    advice = "set the tokenizer's `eos_token`, if the model was trained with one"
    return (spec.locations.report(SOURCE, "FP483", message, help=advice),)


def check_causal(spec: Spec, model: torch.nn.Module) -> None:
    """Refuse a model (FP183) whose states change with the tokens that come after."""
    if any(task.own_head for task in spec.task):
        with spec.locations.attached(), in_eval_mode(model):
            check_order(spec, model.backbone)


def _template_problem(tokenizer: Any) -> tuple[str, str] | None:
    if not getattr(tokenizer, "chat_template", None):
        advice = "use the tokenizer of a model for conversations, or write `prompt` and `completion` into two columns"
        return "the tokenizer has no chat template, by which messages become a text", advice
    if not getattr(tokenizer, "is_fast", False):
        message = "the tokenizer does not tell where a token stands, which marks what the assistant says"
        return message, "name a source with a fast tokenizer (a `tokenizer.json`)"
    return None


def notes_on_targets(rows: Split, split: EncodedSplit, length: int) -> Diagnostic | None:
    """Say how many rows of a split learn nothing, since what they learn is cut off; raise FP465 where all do."""
    count = int((split.targets.counts == 0).sum())
    if not count:
        return None
    what = f"what is learned of {format_count(count)} of {counted(len(split), 'row')} of `{rows.source}`"
    message = f"{what} is wholly cut off at {length} tokens"
    advice = "a larger train.max_length or shorter prompts keep more"
    if count == len(split):
        raise DiagnosticError([rows.report("FP465", f"{message}: there is nothing to learn", help=advice)])
    return rows.report("FP477", message, help=f"these rows are neither learned nor scored; {advice}")
