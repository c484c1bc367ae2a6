"""The card of an exported model: what it is, how to use it, how it was trained, and what is known of its limits."""

from __future__ import annotations

from dataclasses import dataclass, field

from freezeplan.diagnostics.wording import counted, format_number
from freezeplan.render.filling import fill_template
from freezeplan.render.markdown import code, fence, prose


@dataclass(frozen=True)
class PhaseFacts:
    """Say of one phase what it proved: its name, its steps, why it ended, and the evidence in a sentence."""

    name: str
    steps: int
    ended: str
    statement: str


@dataclass(frozen=True)
class SplitFacts:
    """Say where the rows of a split came from: names alone, no folders; ``rows`` is None where none recorded it.

    Of rows that were streamed, the word is there in their place.
    """

    split: str
    names: tuple[str, ...]
    rows: int | str | None = None


@dataclass(frozen=True)
class Score:
    """Name one metric of one split, its value, and over how many rows it was measured (None: not recorded)."""

    split: str
    metric: str
    value: float
    rows: int | None = None


@dataclass(frozen=True)
class ModelCard:
    """Hold all that a card says; texts may hold anything, and ``front`` is YAML, ready to be written.

    ``python`` is code that loads the folder it stands in. ``plan`` is the plan as ``show`` prints it, ``proof`` the
    sentence about both sides of the export, ``limits`` what a user has to know, ``hashes`` the run's own, by name.
    """

    front: str
    task: str
    kind: str
    loads_as: str
    python: str
    outputs: tuple[str, ...]
    plan: str
    proof: str
    source: str
    phases: tuple[PhaseFacts, ...] = ()
    splits: tuple[SplitFacts, ...] = ()
    scores: tuple[Score, ...] = ()
    limits: tuple[str, ...] = ()
    hashes: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def card_text(card: ModelCard) -> str:
    """Return a card as Markdown with YAML in front, as the hub reads a ``README.md``."""
    filters = {"code": code, "fence": fence, "prose": prose, "counted": counted, "number": format_number}
    return fill_template("model_card.md.j2", filters, card=card)
