"""Settles what a spec leaves to its source: how texts are pooled, and how much of a text is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import counted, in_quotes, some
from freezeplan.models.resolve import Source
from freezeplan.models.sentence_folder import SentenceFolder
from freezeplan.spec.head_checks import NATIVE
from freezeplan.spec.keys import SOURCE
from freezeplan.spec.tables import Pooling, Spec

USUAL = "mean"
POOLING = ("model", "pooling")
LENGTH = ("train", "max_length")
# What changes no weights and no direction: of interest to a comparison of vectors alone.
WEIGHTLESS = ("Normalize", "Dropout")


def pooling_of(spec: Spec, source: Source) -> str:
    """Return how linear heads see a text: as the spec says, else as the source does, else mean.

    A source says it that is a run, or holds the sentence encoder of sentence-transformers.
    """
    said = source.sentence.pooling if source.sentence else source.run.pooling if source.run else None
    return spec.model.pooling or (said if said in get_args(Pooling) else None) or USUAL


def length_of(source: Source) -> int | None:
    """Return how many tokens of a text the source's sentence encoder reads, None where nothing says it."""
    return source.sentence.max_length if source.sentence else None


def source_advice(spec: Spec, source: Source) -> tuple[Diagnostic, ...]:
    """Return warnings where the heads of a spec do not see what the source's sentence encoder makes of a text."""
    sentence = source.sentence
    if sentence is None or not spec.task:
        return ()
    pooled = _about_pooling(spec, sentence) if _pools(spec) else ()
    return (*pooled, *_about_length(spec, sentence), *_unused(spec, sentence))


def _pools(spec: Spec) -> bool:
    return any(task.head != NATIVE for task in spec.task)


def _about_pooling(spec: Spec, sentence: SentenceFolder) -> Iterator[Diagnostic]:
    written = spec.model.pooling
    says = f"the source's sentence encoder pools by {some(sentence.modes)}"
    if written is not None:
        if sentence.modes and written != sentence.pooling:
            yield spec.locations.report(POOLING, "FP188", f"{says}, this spec by {in_quotes(written)}")
    elif sentence.without is not None:
        message = f"`{sentence.without}` is not there, which says how the source pools: {USUAL} is used"
        advice = f'copy it too, or write `pooling = "{USUAL}"`'
        yield spec.locations.report(SOURCE, "FP188", message, help=advice)
    elif sentence.modes and sentence.pooling is None:
        message = f"{says}, which is no pooling here: {USUAL} is used"
        advice = f'write `pooling = "{USUAL}"` if that is meant'
        yield spec.locations.report(SOURCE, "FP188", message, help=advice)


def _about_length(spec: Spec, sentence: SentenceFolder) -> Iterator[Diagnostic]:
    asked, known = spec.train.max_length, sentence.max_length
    if asked is not None and known is not None and asked > known:
        message = (
            f"the source's sentence encoder reads {counted(known, 'token')} of a text, this spec {asked}"
        )
        yield spec.locations.report(LENGTH, "FP188", message)


def _unused(spec: Spec, sentence: SentenceFolder) -> Iterator[Diagnostic]:
    found = [f"{kind} ({in_quotes(path)})" for kind, path in sentence.others if kind not in WEIGHTLESS]
    if found:
        message = f"of the source's sentence encoder these modules are not used: {', '.join(found)}"
        advice = (
            "the heads read what the pooling gives; to train these modules too, put groups on the live model"
        )
        yield spec.locations.report(SOURCE, "FP187", message, help=advice)
    if sentence.lower_case:
        message = (
            "the source's sentence encoder lowers the case of a text itself; here its tokenizer alone decides"
        )
        yield spec.locations.report(SOURCE, "FP187", message, help="lower the case in the data")
    if sentence.prompt is not None:
        message = f"the source's sentence encoder puts {in_quotes(sentence.prompt)} in front of a text; here nothing is"
        yield spec.locations.report(SOURCE, "FP187", message, help="write it into the data")


def notes_on(spec: Spec, source: Source) -> Iterator[str]:
    """Yield what a spec with tasks takes over from its source's sentence encoder, and what it leaves out."""
    sentence = source.sentence
    if sentence is None or not spec.task:
        return
    pooled = _pools(spec) and spec.model.pooling is None and sentence.pooling
    taken = [f"{sentence.pooling} pooling"] if pooled else []
    if sentence.max_length is not None and spec.train.max_length is None:
        taken.append(f"texts of at most {counted(sentence.max_length, 'token')}")
    if taken:
        yield f"{' and '.join(taken)}, as the source's sentence encoder has it"
    left_out = [kind for kind, _ in sentence.others if kind in WEIGHTLESS]
    if left_out:
        modules = " and ".join(left_out)
        yield f"{modules} of the source's sentence encoder is left out: heads read the pooled vectors as they are"
