"""ms-swift: ``freeze_parameters``, ``freeze_parameters_ratio``, ``trainable_parameters`` and their regular expressions.

Restates ``freeze_parameters`` and ``activate_parameters`` of ms-swift 4.6.0,
https://github.com/modelscope/ms-swift/blob/main/swift/utils/transformers_utils.py: in this order, a share of the
elements in the order of the model, prefixes, ``re.search``; then prefixes and ``re.search`` of what trains all the
same.
"""

from __future__ import annotations

from itertools import accumulate

from freezeplan.diagnostics.wording import format_number
from freezeplan.importing.config_file import ConfigFile
from freezeplan.importing.hits import Hits, by_prefix
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.peers.drafting import Draft
from freezeplan.importing.peers.findings import OTHER_MODULES, refuse_towers, regex_hits
from freezeplan.importing.reading import FROZEN, TRAINED, Reading
from freezeplan.spec.locations import KeyPath

NAME, TITLE = "ms-swift", "ms-swift"
CLASS = "AutoModelForCausalLM"
RATIO = "freeze_parameters_ratio"
STEPS = (
    ("freeze_parameters", FROZEN, False),
    ("freeze_parameters_regex", FROZEN, True),
    ("trainable_parameters", TRAINED, False),
    ("trainable_parameters_regex", TRAINED, True),
)
KINDS = ("tuner_type", "train_type", "sft_type")
SWITCHES = ("freeze_llm", "freeze_vit", "freeze_aligner")
SAME_GROUPS = ("default", "lorap")
KEYS = (RATIO, *(key for key, *_ in STEPS))
CANNOT = {
    "vit_lr": "which tensors it gives a rate is a table of its own there",
    "aligner_lr": "which tensors it gives a rate is a table of its own there",
    "use_galore": "GaLore projects gradients",
    "quant_method": "quantised weights are not trained without an adapter",
    "quant_bits": "quantised weights are not trained without an adapter",
    "lisa_activated_layers": "LISA draws layers at random while it trains",
}


def recognises(config: ConfigFile) -> bool:
    """Tell whether a config is of this tool."""
    return any(key in config.data for key in (*KEYS, *KINDS[:2]))


def read(config: ConfigFile, model: ModelNames, meant: bool) -> Reading:
    """Return what a config does to a model, literally or as it is meant."""
    config.without(CANNOT)
    kind = next((config.text(key) for key in KINDS if config.at(key)), "lora")
    if kind != "full":
        known = next((key for key in KINDS if config.at(key)), "")
        said = f"`{kind}`" if known else "a config that names no `tuner_type` trains by LoRA, and"
        raise config.error((known,) if known else (), "FP193", f"{said} cannot be imported: {OTHER_MODULES}")
    if (plugin := config.text("optimizer") or "default") not in SAME_GROUPS:
        message = f"`{plugin}` cannot be imported: it divides the tensors by code of its own"
        raise config.error(("optimizer",), "FP193", message)
    refuse_towers(config, ("freeze_vit",), model)
    draft = Draft(config, model, meant, TRAINED)
    draft.findings.unused(SWITCHES, "the model has one modality")
    if ratio := config.rate(RATIO):
        by = draft.say(f"{RATIO}: {ratio:g}", (RATIO,), (f"@params[:{format_number(ratio * 100)}%]",))
        draft.put(_first_share(model, ratio), FROZEN, by)
    for key, treatment, is_regex in STEPS:
        for path, text in config.strings(key):
            names = draft.chosen(path, text, _hits(config, path, text, model, is_regex))
            draft.put(names, treatment, draft.say(f"{key}: {text}", path))
    return draft.with_hugging_face(lr=1e-5, weight_decay=0.1)


def _hits(config: ConfigFile, path: KeyPath, text: str, model: ModelNames, is_regex: bool) -> Hits:
    return regex_hits(config, path, text, model, search=True) if is_regex else by_prefix(text, model.tensors)


def _first_share(model: ModelNames, ratio: float) -> list[str]:
    sizes = [info.numel for info in model.tensors.values()]
    border = int(sum(sizes) * ratio)
    return [name for name, end in zip(model.tensors, accumulate(sizes), strict=True) if end <= border]
