"""axolotl: ``unfrozen_parameters``.

Restates ``freeze_layers_except`` of axolotl 0.19.0,
https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/freeze.py: ``re.match``, in which each dot that
no ``+`` follows is made a plain one first. All that no pattern matches is frozen.
"""

from __future__ import annotations

import re
from dataclasses import replace

from freezeplan.importing.config_file import ConfigFile
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.peers.findings import (
    OTHER_MODULES,
    Findings,
    everything,
    regex_hits,
    with_hugging_face,
)
from freezeplan.importing.reading import FROZEN, TRAINED, Reading, Statement

NAME, TITLE = "axolotl", "axolotl"
CLASS = "AutoModelForCausalLM"
DOT = re.compile(r"\.(?!\+)")
RANGE = re.compile(r"^(.+)\[([0-9]*)(?::([0-9]*))?\]$")
TOWERS = (
    "vision_tower", "vision_model", "vision_encoder", "embed_vision", "multi_modal_projector", "visual", "audio_tower",
    "audio_model", "embed_audio",
)  # fmt: skip
CANNOT = {
    "adapter": OTHER_MODULES,
    "lr_groups": "which tensors it gives a rate is decided by code of its own",
    "embedding_lr": "which tensors it gives a rate is decided by code of its own",
    "embedding_lr_scale": "which tensors it gives a rate is decided by code of its own",
    "spectrum": "it measures the weights to decide what trains",
}


def recognises(config: ConfigFile) -> bool:
    """Tell whether a config is of this tool."""
    return "unfrozen_parameters" in config.data or {"base_model", "datasets"} <= config.data.keys()


def read(config: ConfigFile, model: ModelNames, meant: bool) -> Reading:
    """Return what a config does to a model, literally or as it is meant."""
    config.without(CANNOT)
    findings = Findings(config, model)
    patterns = config.strings("unfrozen_parameters")
    outcome = everything(model, FROZEN if patterns else TRAINED)
    statements = []
    for path, text in patterns:
        if RANGE.match(text):
            reason = "a tensor is frozen or trained as a whole"
            raise config.error(path, "FP193", f"the rows in `{text}` cannot be imported: {reason}")
        hits = regex_hits(config, path, text, model, restated=DOT.sub(r"\\.", text))
        if hits.less and ".*" in text:
            hits = replace(hits, slip="there every dot is a plain one, so that `.*` is any number of dots")
        findings.hits(path, text, hits, _why_dead(text))
        statements.append(Statement(f"unfrozen_parameters: {text}", config.span(path)))
        outcome |= dict.fromkeys(hits.of(meant), (TRAINED, len(statements) - 1))
    if config.at("freeze_mm_modules"):
        statements.append(Statement("freeze_mm_modules: true", config.span(("freeze_mm_modules",))))
        frozen = [name for name in model.tensors if any(part in TOWERS for part in name.split("."))]
        outcome |= dict.fromkeys(frozen, (FROZEN, len(statements) - 1))
    return with_hugging_face(config, statements, outcome, findings)


def _why_dead(text: str) -> str | None:
    if "\\." in text:
        return "there every dot is escaped once more, so that an escaped one matches a backslash"
    return None
