"""What a task's rows hold for the model to read: texts or images, and the words for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from freezeplan.diagnostics import Diagnostic
from freezeplan.spec.tables import Spec


@dataclass(frozen=True)
class Kind:
    """Name a kind of input: its key in ``data`` and in predictions, its plural, the code of a bad value.

    ``read_by`` is the name that a model of this kind gives to its main input; ``takes`` are the keys of what one row
    of it holds.
    """

    name: str
    plural: str
    code: str
    advice: str
    read_by: str
    takes: tuple[str, ...]

    @property
    def several(self) -> bool:
        """Whether a row holds several texts."""
        return len(self.takes) > 1


TEXT = Kind("text", "texts", "FP457", "every row needs a text that is not blank", "input_ids", ("text",))
TEXT_PAIR = Kind(
    "text_pair",
    "text pairs",
    "FP457",
    "every row needs two texts that are not blank",
    "input_ids",
    ("text", "text_pair"),
)
TEXT_TRIPLET = Kind(
    "text_triplet",
    "text triplets",
    "FP457",
    "every row needs three texts that are not blank",
    "input_ids",
    ("text", "text_pair", "text_negative"),
)
IMAGE = Kind(
    "image",
    "images",
    "FP471",
    "every row needs the path of an image file, an encoded image, or numbers from 0 to 255",
    "pixel_values",
    ("image",),
)
TOKENS = Kind(
    "tokens", "texts in words", "FP457", "every row needs a list of words", "input_ids", ("tokens",)
)
PROMPT = Kind(
    "prompt",
    "prompts with completions",
    "FP457",
    "every row needs a prompt and a completion that are not blank",
    "input_ids",
    ("prompt", "completion"),
)
MESSAGES = Kind(
    "messages",
    "conversations",
    "FP457",
    'every row needs a list of messages, {"role": "user", "content": "…"}, and one of them by the assistant',
    "input_ids",
    ("messages",),
)
PROMPT_ALONE = Kind(
    "prompt", "prompts", "FP457", "every row needs a prompt that is not blank", "input_ids", ("prompt",)
)
"""What is asked of a run that has learned completions."""
KINDS = {kind.name: kind for kind in (TEXT, TEXT_PAIR, TEXT_TRIPLET, TOKENS, IMAGE, PROMPT, MESSAGES)}


def kind_of(backbone: Any) -> Kind | None:
    """Return what a backbone reads, None when it is neither text nor images (sound, for instance)."""
    name = getattr(backbone, "main_input_name", TEXT.read_by)
    return next((kind for kind in KINDS.values() if kind.read_by == name), None)


def check_kinds(spec: Spec, backbone: Any) -> tuple[Diagnostic, ...]:
    """Report each task whose data hold another kind of input than the backbone reads."""
    reads = kind_of(backbone)
    found = []
    for index, task in enumerate(spec.task):
        if task.data is None or (reads is not None and KINDS[task.data.kind].read_by == reads.read_by):
            continue
        at = ("task", index, "data", KINDS[task.data.kind].takes[0])
        message = _message(task.data.kind, backbone, reads)
        found.append(spec.locations.report(at, "FP472", message, help=_advice(reads)))
    return tuple(found)


def _message(given: str, backbone: Any, reads: Kind | None) -> str:
    name = f"`{type(backbone).__name__}`"
    if reads is None:
        return f"{name} reads `{backbone.main_input_name}`: neither texts nor images"
    return f"{name} reads {reads.plural}, and the task's rows are {KINDS[given].plural}"


def _advice(reads: Kind | None) -> str:
    if reads is None:
        return "name a `source` that reads texts or images"
    return f'name the column that holds the {reads.plural}: `{reads.name} = "…"`, or another `source`'
