"""The rows of all tasks as the model takes them: which encoder, what it makes of them, what it cuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from freezeplan.data.checks import check_inputs
from freezeplan.data.encoder import Encoded, Encoder
from freezeplan.data.modality import IMAGE, TOKENS, kind_of
from freezeplan.data.pairs import TextPairs
from freezeplan.data.split import Split, TaskData
from freezeplan.data.spool import NoRoom
from freezeplan.data.task_rows import SPLITS, no_room
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.diagnostics.wording import counted, format_count
from freezeplan.models.left_open import length_of
from freezeplan.models.loading import load_tokenizer
from freezeplan.models.positions import LONGEST
from freezeplan.models.resolve import resolve_source
from freezeplan.spec.tables import Spec
from freezeplan.tasks import TaskKind
from freezeplan.train.encoding import (
    TextEncoder,
    check_tokenizer,
    longest_text,
    make_text_encoder,
    most_tokens,
)
from freezeplan.train.forward import EncodedSplit
from freezeplan.train.image_encoding import make_image_encoder
from freezeplan.train.language import check_templates, encode_language, notes_on_targets

Data = Mapping[str, Mapping[str, EncodedSplit]]


def encoder_for(spec: Spec, backbone: Any) -> Encoder:
    """Return the encoder of a spec's source for its backbone, which may be without weights.

    Raises ``DiagnosticError``: FP171 without a tokenizer, FP465 for a length that does not fit, FP478 for a
    tokenizer that does not, FP470 and FP474 for images.
    """
    if kind_of(backbone) is IMAGE:
        return make_image_encoder(spec, backbone)
    tokenizer = load_tokenizer(spec)
    usual = length_of(resolve_source(spec)) or LONGEST
    encoder = make_text_encoder(tokenizer, backbone, longest_text(spec, tokenizer, backbone, usual))
    check_tokenizer(spec, encoder)
    check_templates(spec, encoder)
    return encoder


def with_labels(spec: Spec, tasks: Sequence[TaskData]) -> Spec:
    """Return the spec with every task's labels written out, so that the heads fit the data that was read."""
    labelled = [
        task.model_copy(update={"labels": list(data.labels) or None})
        for task, data in zip(spec.task, tasks, strict=True)
    ]
    return spec.model_copy(update={"task": labelled})


def encoded_data(
    tasks: Sequence[TaskData], encoder: Encoder, known: dict[tuple[int, ...], Encoded] | None = None
) -> Data:
    """Return every split of every task, encoded; tasks that read the same column share what is made of it.

    ``known`` is what the same encoder made of the same columns before, and takes what is made now.

    Raises ``DiagnosticError`` with the rows that cannot be used, of all tasks and splits (FP457, FP471), or FP490
    where the temporary folder is full.
    """
    shared = {} if known is None else known
    found: dict[str, dict[str, EncodedSplit]] = {split: {} for split in SPLITS}
    problems: list[Diagnostic] = []
    for split in SPLITS:
        for task in tasks:
            rows = task.splits.get(split)
            if rows is not None:
                key = (*_identity(rows), task.kind.compares, task.kind.own_head)
                if key not in shared:
                    shared[key] = encode_split(rows, encoder, task.kind)
                    problems += problems_of(rows, shared[key])
                found[split][task.name] = EncodedSplit(
                    shared[key],
                    task.kind,
                    task.targets(split, shared[key]),
                    task.labels,
                    f"{split}/{task.name}",
                )
    if problems:
        raise DiagnosticError(problems)
    return found


def _identity(rows: Split) -> tuple[int, ...]:
    """Return what is equal for splits that hold the same columns: the reader gives each of them once."""
    parts = rows.inputs.columns if isinstance(rows.inputs, TextPairs) else (rows.inputs,)
    return tuple(id(part) for part in parts)


def encode_split(rows: Split, encoder: Encoder, kind: TaskKind) -> Encoded:
    """Return the encoded inputs of a split as tasks of a kind read them."""
    try:
        if kind.own_head and isinstance(encoder, TextEncoder):
            return encode_language(encoder, rows.inputs, rows.kind)
        if kind.compares and isinstance(encoder, TextEncoder):
            return encoder.encode_apart(rows.inputs)
        return encoder.encode(rows.inputs)
    except NoRoom as error:
        raise no_room(error) from None


def problems_of(rows: Split, inputs: Encoded) -> list[Diagnostic]:
    """Report the rows of a split that its encoded inputs name as unusable."""
    return check_inputs(inputs.flaws, rows.kind, rows.columns, rows.source, rows.places, rows.report)


def notes_on_cuts(
    tasks: Sequence[TaskData], data: Data, encoder: Encoder, backbone: Any
) -> tuple[Diagnostic, ...]:
    """Say of each split how many of its texts are cut (FP477)."""
    if not isinstance(encoder, TextEncoder):
        return ()
    longest = most_tokens(encoder.tokenizer, backbone)
    seen, found = set[tuple[int, ...]](), []
    for split in SPLITS:
        for task in tasks:
            rows = task.splits.get(split)
            cut = cut_of(data[split][task.name]) if rows is not None else 0
            if rows is not None and cut and (*_identity(rows), task.kind.own_head) not in seen:
                seen.add((*_identity(rows), task.kind.own_head))
                found.append(_note(rows, data[split][task.name], cut, encoder.max_length, longest))
            if rows is not None and rows.kind is TOKENS:
                found += _note_on_words(rows, data[split][task.name])
            if rows is not None and task.kind.own_head:
                note = notes_on_targets(rows, data[split][task.name], encoder.max_length)
                found += [] if note is None else [note]
    return tuple(found)


def _note_on_words(rows: Split, split: EncodedSplit) -> list[Diagnostic]:
    """Say how many words have no token, cut off or dropped by the tokenizer."""
    words = int(rows.inputs.counts.sum())
    lost = words - int((split.inputs.words > 0).sum())
    if not lost:
        return []
    few = f"{format_count(lost)} of {counted(words, 'word')}"
    message = (
        f"{few} of `{rows.source}` {'has' if lost == 1 else 'have'} no token: they are cut off or dropped"
    )
    advice = "their tags are neither learned nor scored; a larger train.max_length or shorter rows keep more"
    return [rows.report("FP477", message, help=advice)]


def cut_of(split: EncodedSplit) -> int:
    """Return how many texts of a split are cut; no image is."""
    return getattr(split.inputs, "cut", 0)


def _note(rows: Split, split: EncodedSplit, cut: int, length: int, longest: int) -> Diagnostic:
    count, paired = len(split.inputs), rows.kind.several and not split.kind.compares
    few = f"{format_count(cut)} of {counted(count, 'text pair' if paired else 'text')}"
    message = f"{few} of `{rows.source}` {'is' if cut == 1 else 'are'} cut at {length} tokens"
    more = (
        f"train.max_length can be up to {longest}; or " if longest > length else "the model takes no more: "
    )
    return rows.report("FP477", message, help=f"{more}put what matters at the beginning")
