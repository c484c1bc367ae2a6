"""What the peers' readers share: hits that become findings, and what more than one of them refuses."""

from __future__ import annotations

from collections.abc import Iterable

import regex

from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import in_quotes, some
from freezeplan.importing.config_file import ConfigFile
from freezeplan.importing.hits import Hits, by_regex
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.reading import Outcome, Treatment
from freezeplan.plan.gathering import gathered
from freezeplan.spec.locations import KeyPath

TOWERS = {
    "vision_tower", "visual", "audio_tower", "vision_model", "multi_modal_projector", "embed_vision", "embed_audio",
    "vision_encoder", "audio_model", "vpm", "apm", "resampler", "aligner", "mlp_AR",
}  # fmt: skip
SEVERAL_MODALITIES = ("vision_config", "audio_config", "thinker_config")
OTHER_MODULES = (
    "it trains modules of its own, which PEFT adds; import its rest, and name them with `@adapters`"
)


class Findings:
    """Accidents and what is left out, as they are found."""

    def __init__(self, config: ConfigFile, model: ModelNames) -> None:
        self.config = config
        self.model = model
        self.items: list[Diagnostic] = []

    def hits(self, path: KeyPath, text: str, hits: Hits, dead: str | None = None) -> Hits:
        """Note where a pattern hits other names than it should, or none; returns the hits."""
        for names, verb in ((hits.more, "also takes"), (hits.less, "misses")):
            if names:
                self.accident(path, f"{in_quotes(text)} {verb} {self.listed(names)}: {hits.slip}")
        if not hits.literal and not hits.meant:
            self.accident(path, f"{in_quotes(text)} hits nothing: {dead or self._why_dead(text)}")
        return hits

    def _why_dead(self, text: str) -> str:
        """Say why a pattern is passed over: it may name what `named_parameters` has under another name alone."""
        tied = (name for name, first in self.model.first_names.items() if name != first)
        other = next((name for name in tied if text.strip("^$.*") in name), None)
        if other:
            return (
                f"`{other}` is tied to `{self.model.first_names[other]}`, the name by which it is known there"
            )
        return "there it is passed over in silence"

    def accident(self, path: KeyPath, message: str) -> None:
        """Note a place where what the config does is not what it evidently should do, or nothing at all."""
        self.items.append(self.config.finding(path, "FP195", message))

    def unused(self, keys: Iterable[str], why: str) -> None:
        """Note the keys that the config has and the tool does not use."""
        for key in keys:
            if self.config.at(key):
                self.left_out((key,), f"`{key}` does nothing there: {why}")

    def left_out(self, path: KeyPath, message: str, advice: str | None = None) -> None:
        """Note what the spec does not say."""
        self.items.append(self.config.finding(path, "FP196", message, advice))

    def listed(self, names: Iterable[str]) -> str:
        """Return names in few words."""
        kept = [name for name in self.model.tensors if name in set(names)]
        return some(gathered(kept, self.model.tensors), 4)


def regex_hits(
    config: ConfigFile,
    path: KeyPath,
    text: str,
    model: ModelNames,
    *,
    search: bool = False,
    restated: str | None = None,
) -> Hits:
    """Return what a regular expression hits of a model. Raises ``DiagnosticError`` (FP194) for one that is none."""
    try:
        return by_regex(text, model.tensors, search=search, restated=restated)
    except TimeoutError:
        raise config.error(path, "FP193", f"{in_quotes(text)} takes too long to match") from None
    except (regex.error, RecursionError, OverflowError, MemoryError) as problem:
        raise config.error(path, "FP194", f"{in_quotes(text)} is no regular expression: {problem}") from None


def refuse_towers(config: ConfigFile, path: KeyPath, model: ModelNames) -> None:
    """Refuse a multi-modal model, where the tool freezes parts by a table of its own."""
    parts = (part for name in model.tensors for part in name.split(".") if part in TOWERS)
    found = next(parts, None) or next(
        (key for key in SEVERAL_MODALITIES if key in (model.config or {})), None
    )
    if found:
        reason = "which parts of a multi-modal model are frozen is a table of its own there"
        raise config.error(path, "FP193", f"`{found}` cannot be imported: {reason}")


def refuse_nothing(config: ConfigFile, path: KeyPath, outcome: Outcome) -> None:
    """Refuse an outcome that trains nothing, where the tool would give its optimizer an empty list."""
    if not any(treatment.trained for treatment, _ in outcome.values()):
        raise config.error(path, "FP194", "there it is an error: nothing is left to train")


def everything(model: ModelNames, treatment: Treatment) -> dict[str, tuple[Treatment, int]]:
    """Return an outcome that does one thing with every tensor, said by nobody."""
    return dict.fromkeys(model.tensors, (treatment, -1))
