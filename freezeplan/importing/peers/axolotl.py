"""axolotl: ``unfrozen_parameters``, ``lr_groups``, ``embedding_lr``.

Restates ``freeze_layers_except``, ``freeze_mm_modules`` and ``create_optimizer_grouped_parameters`` of axolotl 0.19.0,
https://github.com/axolotl-ai-cloud/axolotl/tree/main/src/axolotl: ``re.match``, in which each dot that no ``+``
follows is made a plain one first; all that no pattern matches is frozen. With an optimizer of its own, or a rate of a
group, embeddings and head do not decay, and the first module of a group that is in the name of what decays sets its
rate.
"""

from __future__ import annotations

import re
from dataclasses import replace

from freezeplan.importing.config_file import ConfigFile
from freezeplan.importing.hits import CUT, Hits, by_substring
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.peers.drafting import Draft
from freezeplan.importing.peers.findings import OTHER_MODULES, regex_hits
from freezeplan.importing.reading import FROZEN, TRAINED, Reading, Treatment
from freezeplan.plan.exemptions import PUBLISHED
from freezeplan.spec.locations import KeyPath

NAME, TITLE = "axolotl", "axolotl"
CLASS = "AutoModelForCausalLM"
DOT = re.compile(r"\.(?!\+)")
RANGE = re.compile(r"^(.+)\[([0-9]*)(?::([0-9]*))?\]$")
TOWERS = (
    "vision_tower", "vision_model", "vision_encoder", "embed_vision", "multi_modal_projector", "visual", "audio_tower",
    "audio_model", "embed_audio",
)  # fmt: skip
MEASURED = "it measures the weights to decide what trains"
QUANTISED = "quantised weights are not trained without an adapter"
CANNOT = {
    "adapter": OTHER_MODULES,
    "relora": "it is about adapters",
    "loraplus_lr_ratio": "it is about adapters",
    "use_mora": "it is about adapters",
    "mora": "it is about adapters",
    "hatchery": "it trains adapters on another machine",
    "spectrum": MEASURED,
    "spectrum_top_fraction": MEASURED,
    "lisa_n_layers": "LISA draws layers at random while it trains",
    "lisa_step_interval": "LISA draws layers at random while it trains",
    "llmcompressor": "it keeps pruned weights at 0",
    "load_in_8bit": QUANTISED,
    "load_in_4bit": QUANTISED,
    "gptq": QUANTISED,
}
PLUGINS = {
    "spectrum": MEASURED,
    "mora": CANNOT["mora"],
    "hatchery": CANNOT["hatchery"],
    "llm_compressor": CANNOT["llmcompressor"],
}
# Optimizers that axolotl adds to those of transformers, and those of them that divide the tensors for themselves.
ADDED = {
    "optimi_adamw", "ao_adamw_4bit", "ao_adamw_8bit", "ao_adamw_fp8", "adopt_adamw", "adamc", "came_pytorch",
    "flash_adamw", "flash_adam", "flash_sgd", "flash_sgdw", "flash_lion",
}  # fmt: skip
OWN_GROUPS = {"muon", "dion", "sinkgd", "polora", "q_galore_adamw8bit"}
EMBEDDINGS = ("embed_tokens", "lm_head")
RATE_KEYS = ("embedding_lr_scale", "embedding_lr", "lr_groups")


def recognises(config: ConfigFile) -> bool:
    """Tell whether a config is of this tool."""
    return "unfrozen_parameters" in config.data or {"base_model", "datasets"} <= config.data.keys()


def read(config: ConfigFile, model: ModelNames, meant: bool) -> Reading:
    """Return what a config does to a model, literally or as it is meant."""
    _refuse(config)
    patterns = config.strings("unfrozen_parameters")
    draft = Draft(config, model, meant, FROZEN if patterns else TRAINED)
    for path, text in patterns:
        _thaw(draft, path, text)
    if config.at("freeze_mm_modules"):
        frozen = [name for name in model.tensors if any(part in TOWERS for part in name.split("."))]
        draft.put(frozen, FROZEN, draft.say("freeze_mm_modules: true", ("freeze_mm_modules",)))
    if config.at("optimizer") in ADDED or any(config.at(key) is not None for key in RATE_KEYS):
        _embeddings(draft)
        _groups(draft)
    return draft.with_hugging_face()


def _refuse(config: ConfigFile) -> None:
    config.without(CANNOT)
    kind = config.at("optimizer")
    if kind in OWN_GROUPS:
        message = f"`{kind}` cannot be imported: it divides the tensors by code of its own"
        raise config.error(("optimizer",), "FP193", message)
    for path, plugin in config.strings("plugins"):
        why = next((reason for part, reason in PLUGINS.items() if f".{part}" in plugin.lower()), None)
        if why:
            raise config.error(path, "FP193", f"`{plugin}` cannot be imported: {why}")


def _thaw(draft: Draft, path: KeyPath, text: str) -> None:
    if RANGE.match(text):
        reason = "a tensor is frozen or trained as a whole"
        raise draft.config.error(path, "FP193", f"the rows in `{text}` cannot be imported: {reason}")
    hits = regex_hits(draft.config, path, text, draft.model, restated=DOT.sub(r"\\.", text))
    if hits.less and ".*" in text:
        hits = replace(hits, slip="there every dot is a plain one, so that `.*` is any number of dots")
    names = draft.chosen(path, text, hits, _why_dead(text))
    draft.put(names, TRAINED, draft.say(f"unfrozen_parameters: {text}", path))


def _why_dead(text: str) -> str | None:
    if "\\." in text:
        return "there every dot is escaped once more, so that an escaped one matches a backslash"
    return None


def _embeddings(draft: Draft) -> None:
    """Take embeddings and head from the weight decay, and give them their rate."""
    config = draft.config
    none = 0.0 if config.rate("weight_decay") else None
    scale, rate = (config.rate(key) or None for key in RATE_KEYS[:2])
    key = RATE_KEYS[0] if scale else RATE_KEYS[1] if rate else "optimizer"
    treatment = Treatment(True, lr=None if scale else rate, lr_mult=scale, weight_decay=none)
    names = [name for name in _trained(draft) if any(part in name for part in EMBEDDINGS)]
    if names and treatment != TRAINED:
        draft.put(names, treatment, draft.say(f"{key}: embeddings and head", (key,)))


def _groups(draft: Draft) -> None:
    """Give the tensors of each group its rate: those that decay, and have one of its modules in their names."""
    free = set(PUBLISHED["transformers"](draft.model.inventory))
    names = [name for name in _trained(draft) if not any(part in name for part in EMBEDDINGS)]
    decaying = frozenset(name for name in names if name.removeprefix(draft.model.prefix) not in free)
    left, rates = set(names), {}
    for path, module, rate in _modules(draft.config):
        rates[module] = (path, rate)
    for module, (path, rate) in rates.items():
        hits = by_substring(module, names)
        found = draft.chosen(path, module, Hits(hits.literal & decaying, hits.meant & decaying, CUT))
        slip = "biases and norms stay at the base rate there"
        whole = Hits(
            frozenset(found), frozenset(found) | (hits.meant if draft.meant else hits.meant - decaying), slip
        )
        taken = [name for name in draft.chosen(path, module, whole) if name in left]
        left -= set(taken)
        draft.put(taken, Treatment(True, lr=rate), draft.say(f"lr_groups: {module}", path))


def _modules(config: ConfigFile) -> list[tuple[KeyPath, str, float]]:
    found = []
    for index in range(len(config.entries("lr_groups"))):
        path: KeyPath = ("lr_groups", index)
        rate, name = config.rate(*path, "lr"), config.text(*path, "name")
        modules = config.strings(*path, "modules")
        if not rate or not name or not modules:
            raise config.error(
                path, "FP194", "there it is an error: a group has a `name`, `modules` and an `lr`"
            )
        found += [(place, module, rate) for place, module in modules]
    return found


def _trained(draft: Draft) -> list[str]:
    return [name for name, (treatment, _) in draft.outcome.items() if treatment.trained]
