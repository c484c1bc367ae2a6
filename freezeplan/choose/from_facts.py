"""What to freeze where nothing was measured yet: by rows, labels and memory, each rule with the paper it rests on."""

from __future__ import annotations

from dataclasses import dataclass

from freezeplan.choose.measured_advice import MeasuredAdvice
from freezeplan.diagnostics.wording import counted, format_bytes

FEW_PER_LABEL, FEW_ROWS, MANY_ROWS = 8, 1000, 100_000
SETFIT = (
    "with 8 rows a label ordinary fine-tuning falls far behind a head on fixed sentence vectors: Tunstall et al., "
    "Efficient Few-Shot Learning Without Prompts, 2022, https://arxiv.org/abs/2209.11055"
)
FEW_SAMPLES = (
    "with 1,000 rows results vary over seeds and more epochs than usual help: Zhang et al., Revisiting Few-sample BERT "
    "Fine-tuning, 2021, https://arxiv.org/abs/2006.05987"
)
HEADS_FIRST = (
    "a random head distorts the features under it: Kumar et al., Fine-Tuning can Distort Pretrained Features, 2022, "
    "https://arxiv.org/abs/2202.10054"
)
LARGE = (
    "with 100,000 rows and more the choice of hyperparameters matters far less; 2 to 4 epochs: Devlin et al., BERT, "
    "2019, https://arxiv.org/abs/1810.04805, appendix A.3"
)
STEP_MEMORY = "the memory of a training step, as `show --cost` works it out"
HEAD, LP_FT, WHOLE = "head", "lp_ft", "whole"


@dataclass(frozen=True)
class DataFacts:
    """Hold what is known of a task before anything runs: its training rows and its labels, None where unknown."""

    rows: int | None = None
    labels: int | None = None

    @property
    def per_label(self) -> float | None:
        """The rows of a label on average."""
        return self.rows / self.labels if self.rows is not None and self.labels else None


@dataclass(frozen=True)
class Recommended:
    """Name a way of freezing and its epochs, and why."""

    name: str
    epochs: int
    advice: MeasuredAdvice


def recommended(facts: DataFacts) -> Recommended | None:
    """Return the way of freezing that the papers speak for, None where the rows are not known.

    >>> recommended(DataFacts(rows=80, labels=10)).name, recommended(DataFacts(rows=5000, labels=10)).name
    ('head', 'lp_ft')
    """
    if facts.rows is None:
        return None
    rows = counted(facts.rows, "row")
    if facts.per_label is not None and facts.per_label <= FEW_PER_LABEL:
        text = f"{rows} for {counted(facts.labels or 0, 'label')}: freeze the backbone, train the head alone"
        return Recommended(HEAD, 10, MeasuredAdvice(text, SETFIT))
    if facts.rows <= FEW_ROWS:
        text = f"{rows}: train the head first, then everything, for more epochs, and with several seeds"
        return Recommended(LP_FT, 6, MeasuredAdvice(text, f"{FEW_SAMPLES}; {HEADS_FIRST}"))
    if facts.rows >= MANY_ROWS:
        return Recommended(WHOLE, 3, MeasuredAdvice(f"{rows}: train everything for 3 epochs", LARGE))
    text = f"{rows}: train the head first on a frozen backbone, then everything"
    return Recommended(LP_FT, 3, MeasuredAdvice(text, HEADS_FIRST))


def facts_advice(facts: DataFacts, limit: int | None, peak: int | None) -> list[MeasuredAdvice]:
    """Return what rows, labels and memory alone say of a plan, each sentence with its source.

    ``limit`` is the memory that a training step may take, ``peak`` what the plan's largest step is predicted to.
    """
    found = recommended(facts)
    advice = [found.advice] if found else []
    if limit is not None and peak is not None:
        fits = "fits into" if peak <= limit else "does not fit into"
        text = f"a training step of this plan takes {format_bytes(peak)}: it {fits} {format_bytes(limit)}"
        more = "" if peak <= limit else "; freeze more layers from the bottom, or take smaller batches"
        advice.append(MeasuredAdvice(text + more, STEP_MEMORY))
    return advice
