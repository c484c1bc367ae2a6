"""NeMo Automodel: ``freeze_config`` and ``param_group_overrides`` of the optimizer.

Restates ``apply_parameter_freezing`` and ``_build_param_groups`` of NeMo Automodel 0.7.0,
https://github.com/NVIDIA-NeMo/Automodel/tree/main/nemo_automodel/components: four switches freeze by substrings of
module paths, then selectors freeze and thaw modules by path or ``fnmatch``; the first override whose ``re.search`` hits
multiplies rate and decay.
"""

from __future__ import annotations

from collections.abc import Mapping

from freezeplan.importing.config_file import ConfigFile
from freezeplan.importing.hits import Hits, by_glob
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.peers.findings import (
    OTHER_MODULES,
    Findings,
    everything,
    refuse_nothing,
    regex_hits,
)
from freezeplan.importing.reading import FROZEN, TRAINED, PhaseReading, Reading, Statement, Treatment
from freezeplan.spec.locations import KeyPath

NAME, TITLE = "automodel", "NeMo Automodel"
CLASS = "AutoModelForCausalLM"
SELECTORS = (("freeze_modules", FROZEN), ("unfreeze_modules", TRAINED))
SWITCHES: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "freeze_vision_tower": ("vision_tower", ("vision", "visual", "image_encoder")),
    "freeze_audio_tower": ("audio_tower", ("audio", "audio_encoder", "speech", "sound")),
    "freeze_language_model": ("language_model", ("language", "text", "llm")),
    "freeze_video_embedder": (None, ("patch_generator.video_embedder",)),
}
Outcomes = dict[str, tuple[Treatment, int]]


def recognises(config: ConfigFile) -> bool:
    """Tell whether a config is of this tool."""
    overrides = isinstance(config.at("optimizer"), Mapping) and config.at(
        "optimizer", "param_group_overrides"
    )
    return (
        bool(overrides)
        or "freeze_config" in config.data
        or config.at("model", "pretrained_model_name_or_path") is not None
    )


def read(config: ConfigFile, model: ModelNames, meant: bool) -> Reading:
    """Return what a config does to a model, literally or as it is meant."""
    config.without({"peft": OTHER_MODULES})
    findings, statements = Findings(config, model), []
    outcome = everything(model, TRAINED)
    if config.at("freeze_config") is not None:
        _switches(config, model, findings, statements, outcome, meant)
        _selectors(config, model, findings, statements, outcome)
    _overrides(config, model, findings, statements, outcome, meant)
    refuse_nothing(config, ("freeze_config",), outcome)
    decay = config.rate("optimizer", "weight_decay")
    return Reading(
        tuple(statements),
        (PhaseReading(outcome),),
        lr=config.rate("optimizer", "lr"),
        weight_decay=0.01 if decay is None else decay,
        findings=tuple(findings.items),
    )


def _switches(
    config: ConfigFile,
    model: ModelNames,
    findings: Findings,
    statements: list[Statement],
    outcome: Outcomes,
    meant: bool,
) -> None:
    table = config.table("freeze_config")
    known = (*SWITCHES, *(key for key, _ in SELECTORS))
    for key in table:
        if key not in known:
            raise config.error(
                ("freeze_config", key), "FP194", f"there `{key}` is an error: it is no such option"
            )
    generic = any(key in table for key, _ in SELECTORS)
    for key, (attribute, parts) in SWITCHES.items():
        value = table.get(key)
        if not isinstance(value, bool | None):
            raise config.error(
                ("freeze_config", key), "FP194", f"there `{key}` is an error: it is no boolean"
            )
        if value is None:
            value = key == "freeze_vision_tower" and not generic
        if not value:
            continue
        path: KeyPath = ("freeze_config", key)
        hits = _by_parts(model, attribute, parts)
        if key in table:
            findings.hits(path, key, hits)
        statements.append(Statement(f"{key}: true", config.span(path)))
        outcome |= dict.fromkeys(hits.of(meant), (FROZEN, len(statements) - 1))


def _by_parts(model: ModelNames, attribute: str | None, parts: tuple[str, ...]) -> Hits:
    """Return what lies below modules whose path holds one of the parts, and those meant: by a whole word of a name."""
    literal = set(model.below(attribute)) if attribute in model.classes else set()
    meant = set(literal)
    for path in model.classes:
        if any(part in path.lower() for part in parts):
            literal |= model.below(path)
            words = {word for segment in path.lower().split(".") for word in (segment, *segment.split("_"))}
            if any(part in words or "." in part for part in parts):
                meant |= model.below(path)
    return Hits(frozenset(literal), frozenset(meant), "the word is part of a longer one")


def _selectors(
    config: ConfigFile, model: ModelNames, findings: Findings, statements: list[Statement], outcome: Outcomes
) -> None:
    for key, treatment in SELECTORS:
        for index, entry in enumerate(config.entries("freeze_config", key)):
            path: KeyPath = ("freeze_config", key, index)
            kind, text = _selector(config, path, entry)
            modules = [name for name in model.classes if name]
            chosen = by_glob(text, modules).literal if kind == "glob" else frozenset({text} & set(modules))
            names = frozenset().union(*(model.below(name) for name in chosen))
            if not names:
                raise config.error(
                    path, "FP194", f"there `{kind}: {text}` is an error: it matches no parameters"
                )
            statements.append(Statement(f"{key}: {kind} {text}", config.span(path)))
            outcome |= dict.fromkeys(names, (treatment, len(statements) - 1))


def _selector(config: ConfigFile, path: KeyPath, entry: object) -> tuple[str, str]:
    if isinstance(entry, Mapping) and len(entry) == 1:
        kind, text = next(iter(entry.items()))
        if kind in ("path", "glob") and isinstance(text, str) and text:
            return kind, text
    raise config.error(path, "FP194", "there it is an error: a selector is `path: …` or `glob: …`")


def _overrides(
    config: ConfigFile,
    model: ModelNames,
    findings: Findings,
    statements: list[Statement],
    outcome: Outcomes,
    meant: bool,
) -> None:
    taken: set[str] = set()
    for index, entry in enumerate(config.entries("optimizer", "param_group_overrides")):
        path: KeyPath = ("optimizer", "param_group_overrides", index)
        text = config.at(*path, "pattern")
        if not isinstance(entry, Mapping) or not isinstance(text, str):
            raise config.error(path, "FP194", "there it is an error: an override has a `pattern`")
        hits = findings.hits((*path, "pattern"), text, regex_hits(config, path, text, model, search=True))
        names = {name for name in hits.of(meant) if outcome[name][0].trained} - taken
        taken |= names
        rate, decay = (config.rate(*path, key) for key in ("lr_mult", "wd_mult"))
        if rate == 0:
            raise config.error(
                (*path, "lr_mult"), "FP193", "`lr_mult: 0` cannot be imported: it is not frozen"
            )
        treatment = Treatment(
            True, lr_mult=1.0 if rate is None else rate, weight_decay_mult=1.0 if decay is None else decay
        )
        statements.append(Statement(f"param_group_overrides: {text}", config.span(path)))
        outcome |= dict.fromkeys(names, (treatment, len(statements) - 1))
