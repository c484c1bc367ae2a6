"""NeMo Automodel: ``freeze_config`` and ``param_group_overrides`` of the optimizer.

Restates ``apply_parameter_freezing``, ``_build_param_groups`` and ``LRSchedulerConfig.build`` of NeMo Automodel 0.7.0,
https://github.com/NVIDIA-NeMo/Automodel/tree/main/nemo_automodel/components: four switches freeze by substrings of
module paths, then selectors freeze and thaw modules by path or ``fnmatch``; what a forward pass never uses is frozen
last; the first override whose ``re.search`` hits multiplies rate and decay, each time that the schedule steps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from freezeplan.importing.config_file import ConfigFile
from freezeplan.importing.hits import Hits, by_glob
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.peers.drafting import Draft
from freezeplan.importing.peers.findings import OTHER_MODULES, refuse_nothing, regex_hits
from freezeplan.importing.reading import FROZEN, TRAINED, Reading, Treatment
from freezeplan.spec.locations import KeyPath

NAME, TITLE = "automodel", "NeMo Automodel"
CLASS = "AutoModelForCausalLM"
FREEZE: KeyPath = ("freeze_config",)
SELECTORS = (("freeze_modules", FROZEN), ("unfreeze_modules", TRAINED))
SWITCHES: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "freeze_vision_tower": ("vision_tower", ("vision", "visual", "image_encoder")),
    "freeze_audio_tower": ("audio_tower", ("audio", "audio_encoder", "speech", "sound")),
    "freeze_language_model": ("language_model", ("language", "text", "llm")),
    "freeze_video_embedder": (None, ("patch_generator.video_embedder",)),
}
# The rate and the weight decay of each optimizer where the config says nothing.
DEFAULTS = {
    **dict.fromkeys(("adam", "adamw", "fused_adam", "flash_adamw"), (1e-4, 0.01)),
    "torch.optim.Adam": (1e-3, 0.0),
    "torch.optim.AdamW": (1e-3, 0.01),
    "torch.optim.SGD": (1e-3, 0.0),
}
# The recipes that train the model that the config names; others train another one beside it.
RECIPES = re.compile(
    r"(Train)?Finetune|Pretrain|KnowledgeDistillation|Train(Bi|Cross)Encoder|DiffusionLM|DiffusionGemma|Benchmarking"
    r"|EmbeddingDistill"
)
OWN_GROUPS = ("muon", "normuon", "dion", "dion2")
UNUSED = ("k_proj", "v_proj", "k_norm", "v_norm")
INDEXERS = {"deepseek_v4": ".self_attn.compressor.indexer.", "minimax_m3": ".self_attn.indexer."}


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
    _refuse_recipe(config)
    target = config.at("optimizer", "_target_")
    kind = target if isinstance(target, str) else config.at("optimizer")
    if isinstance(kind, str) and (kind in OWN_GROUPS or kind.startswith("dion.")):
        message = f"`{kind}` cannot be imported: it divides the tensors into groups of its own"
        raise config.error(("optimizer",), "FP193", message)
    draft = Draft(config, model, meant, TRAINED)
    if config.at(*FREEZE) is not None:
        _switches(draft)
        _selectors(draft)
    _unused(draft)
    _overrides(draft)
    refuse_nothing(config, FREEZE, draft.outcome)
    return draft.reading(*_base(config, DEFAULTS.get(str(kind), (None, None))))


def _refuse_recipe(config: ConfigFile) -> None:
    path: KeyPath = ("recipe", "_target_") if isinstance(config.at("recipe"), Mapping) else ("recipe",)
    recipe = config.text(*path)
    if recipe and not RECIPES.match(recipe.rpartition(".")[2]):
        message = f"`{recipe}` cannot be imported: it trains another model than the one that is named"
        raise config.error(path, "FP193", message)


def _base(
    config: ConfigFile, defaults: tuple[float | None, float | None]
) -> tuple[float | None, float | None]:
    """Return the base rate and decay; a schedule may have a largest rate and decays of its own."""
    table = config.at("optimizer")
    given = (
        [config.rate("optimizer", key) for key in ("lr", "weight_decay")]
        if isinstance(table, Mapping)
        else [None] * 2
    )
    rate, decay = (usual if value is None else value for value, usual in zip(given, defaults, strict=True))
    if not isinstance(config.at("lr_scheduler"), Mapping):
        return rate, decay
    top, *ends = (config.rate("lr_scheduler", key) for key in ("max_lr", "start_wd", "end_wd"))
    first, last = (decay if end is None else end for end in ends)
    if first != last:
        message = "the weight decay changes as it goes, which cannot be imported"
        raise config.error(("lr_scheduler", "end_wd"), "FP193", message)
    return (rate if top is None else top), first


def _switches(draft: Draft) -> None:
    config, table = draft.config, draft.config.table(*FREEZE)
    known = (*SWITCHES, *(key for key, _ in SELECTORS))
    for key in table:
        if key not in known:
            message = f"there `{key}` is an error: it is no such option"
            raise config.error((*FREEZE, key), "FP194", message)
    generic = any(key in table for key, _ in SELECTORS)
    for key, (attribute, parts) in SWITCHES.items():
        path: KeyPath = (*FREEZE, key)
        value = config.at(*path)
        if not isinstance(value, bool | None):
            raise config.error(path, "FP194", f"there `{key}` is an error: it is no boolean")
        if value is None:
            value = key == "freeze_vision_tower" and not generic
        if value:
            hits = _by_parts(draft.model, attribute, parts)
            names = draft.chosen(path, key, hits) if key in table else hits.of(draft.meant)
            draft.put(names, FROZEN, draft.say(f"{key}: true", path))


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


def _selectors(draft: Draft) -> None:
    config, modules = draft.config, [name for name in draft.model.classes if name]
    for key, treatment in SELECTORS:
        for index, entry in enumerate(config.entries(*FREEZE, key)):
            path: KeyPath = (*FREEZE, key, index)
            kind, text = _selector(config, path, entry)
            chosen = by_glob(text, modules).literal if kind == "glob" else frozenset({text} & set(modules))
            names = frozenset().union(*(draft.model.below(name) for name in chosen))
            if not names:
                message = f"there `{kind}: {text}` is an error: it matches no parameters"
                raise config.error(path, "FP194", message)
            draft.put(names, treatment, draft.say(f"{key}: {kind} {text}", path))


def _selector(config: ConfigFile, path: KeyPath, entry: object) -> tuple[str, str]:
    if isinstance(entry, Mapping) and len(entry) == 1:
        kind, text = next(iter(entry.items()))
        if kind in ("path", "glob") and isinstance(text, str) and text:
            config.at(*path, kind)
            return kind, text
    raise config.error(path, "FP194", "there it is an error: a selector is `path: …` or `glob: …`")


def _unused(draft: Draft) -> None:
    """Freeze what a forward pass never uses, as the tool does for three families of models."""
    config = draft.model.config or {}
    text = config.get("text_config") or config
    shared, layers = (int(text.get(key) or 0) for key in ("num_kv_shared_layers", "num_hidden_layers"))
    marks = [f"layers.{at}.self_attn.{name}" for at in range(layers - shared, layers) for name in UNUSED]
    kind = str(config.get("model_type", ""))
    marks += [
        mark
        for start, mark in INDEXERS.items()
        if kind == start or start in ("minimax_m3",) and kind.startswith(start)
    ]
    if names := [name for name in draft.model.tensors if any(mark in name for mark in marks)]:
        draft.put(names, FROZEN, draft.say("frozen without a key: what the model never uses", ()))


def _overrides(draft: Draft) -> None:
    config, path = draft.config, ("optimizer", "param_group_overrides")
    if not isinstance(config.at("optimizer"), Mapping):
        return
    entries, taken = config.entries(*path), set()
    applied = config.at("lr_scheduler") is not None
    if entries and not applied:
        draft.findings.accident(
            path, "`param_group_overrides` does nothing there: `lr_scheduler` would apply it"
        )
    for index, entry in enumerate(entries):
        place: KeyPath = (*path, index)
        text = config.at(*place, "pattern")
        if (
            not isinstance(entry, Mapping)
            or not isinstance(text, str)
            or entry.keys() - {"pattern", "lr_mult", "wd_mult"}
        ):
            raise config.error(
                place, "FP194", "there it is an error: an override is a `pattern`, `lr_mult`, `wd_mult`"
            )
        hits = regex_hits(config, place, text, draft.model, search=True)
        names = set(draft.chosen((*place, "pattern"), text, hits)) - taken
        taken |= names
        treatment, by = _override(config, place), draft.say(f"param_group_overrides: {text}", place)
        if applied or draft.meant:
            draft.put([name for name in names if draft.outcome[name][0].trained], treatment, by)


def _override(config: ConfigFile, path: KeyPath) -> Treatment:
    rate, decay = (config.rate(*path, key) for key in ("lr_mult", "wd_mult"))
    if rate == 0:
        raise config.error((*path, "lr_mult"), "FP193", "`lr_mult: 0` cannot be imported: it is not frozen")
    rate, decay = (1.0 if value is None else value for value in (rate, decay))
    return Treatment(True, lr_mult=rate, weight_decay_mult=decay)
