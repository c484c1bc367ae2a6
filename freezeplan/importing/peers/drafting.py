"""A reading in the making: what a config has said so far, and what that does to each tensor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from freezeplan.importing.config_file import ConfigFile
from freezeplan.importing.hits import Hits
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.peers.findings import Findings, everything
from freezeplan.importing.reading import PhaseReading, Reading, Statement, Treatment
from freezeplan.spec.locations import KeyPath

HUGGING_FACE_RATE = 5e-5
PROJECTED = {"optim_target_modules": "GaLore and APOLLO project the gradients of these modules"}


class Draft:
    """What a config does to a model, statement by statement; a later one decides.

    ``meant`` tells which reading it is to be, ``start`` what happens where nothing is said.
    """

    def __init__(self, config: ConfigFile, model: ModelNames, meant: bool, start: Treatment) -> None:
        self.config = config
        self.model = model
        self.meant = meant
        self.findings = Findings(config, model)
        self.statements: list[Statement] = []
        self.outcome: dict[str, tuple[Treatment, int]] = everything(model, start)

    def say(self, said: str, path: KeyPath, selectors: tuple[str, ...] = ()) -> int:
        """Note a statement; returns its number."""
        self.statements.append(Statement(said, self.config.span(path), selectors))
        return len(self.statements) - 1

    def put(self, names: Iterable[str], treatment: Treatment, by: int) -> None:
        """Do one thing with some tensors, as the statement of a number says."""
        self.outcome |= dict.fromkeys(names, (treatment, by))

    def chosen(self, path: KeyPath, text: str, hits: Hits, dead: str | None = None) -> list[str]:
        """Note where a pattern hits other names than it should; returns those of the reading, in the model's order."""
        names = self.findings.hits(path, text, hits, dead).of(self.meant)
        return [name for name in self.model.tensors if name in names]

    def with_hugging_face(self, *, lr: float = HUGGING_FACE_RATE, weight_decay: float = 0.0) -> Reading:
        """Return the reading of a run by transformers' Trainer, with the defaults of a tool that builds on it."""
        self.config.without(PROJECTED)
        given = self.config.rate("learning_rate"), self.config.rate("weight_decay")
        rate, decay = (
            usual if value is None else value for value, usual in zip(given, (lr, weight_decay), strict=True)
        )
        # Where nothing decays there is nothing to mask.
        return replace(self.reading(rate, decay), no_decay="transformers" if decay else None)

    def reading(self, lr: float | None, weight_decay: float | None) -> Reading:
        """Return the reading of a run in one phase."""
        return Reading(
            tuple(self.statements),
            (PhaseReading(self.outcome),),
            lr=lr,
            weight_decay=weight_decay,
            findings=tuple(self.findings.items),
        )
