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
from freezeplan.importing.peers.findings import (
    OTHER_MODULES,
    Findings,
    everything,
    refuse_towers,
    regex_hits,
    with_hugging_face,
)
from freezeplan.importing.reading import FROZEN, TRAINED, Reading, Statement
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
KEYS = (RATIO, *(key for key, *_ in STEPS))
CANNOT = {
    "vit_lr": "which tensors it gives a rate is a table of its own there",
    "aligner_lr": "which tensors it gives a rate is a table of its own there",
    "use_galore": "GaLore projects gradients",
    "lisa_activated_layers": "LISA draws layers at random while it trains",
}


def recognises(config: ConfigFile) -> bool:
    """Tell whether a config is of this tool."""
    return any(key in config.data for key in (*KEYS, "tuner_type", "train_type"))


def read(config: ConfigFile, model: ModelNames, meant: bool) -> Reading:
    """Return what a config does to a model, literally or as it is meant."""
    config.without(CANNOT)
    kind = next(
        (config.text(key) for key in ("tuner_type", "train_type", "sft_type") if config.at(key)), "full"
    )
    if kind != "full":
        raise config.error(("tuner_type",), "FP193", f"`{kind}` cannot be imported: {OTHER_MODULES}")
    refuse_towers(config, ("freeze_vit",), model)
    findings, outcome = Findings(config, model), everything(model, TRAINED)
    statements: list[Statement] = []
    if ratio := config.rate(RATIO):
        shown = format_number(ratio * 100)
        statements.append(Statement(f"{RATIO}: {ratio:g}", config.span((RATIO,)), (f"@params[:{shown}%]",)))
        outcome |= dict.fromkeys(_first_share(model, ratio), (FROZEN, 0))
    for key, treatment, is_regex in STEPS:
        for path, text in config.strings(key):
            hits = _hits(config, path, text, model, is_regex)
            findings.hits(path, text, hits)
            statements.append(Statement(f"{key}: {text}", config.span(path)))
            outcome |= dict.fromkeys(hits.of(meant), (treatment, len(statements) - 1))
    return with_hugging_face(config, statements, outcome, findings, rate=1e-5, decay=0.1)


def _hits(config: ConfigFile, path: KeyPath, text: str, model: ModelNames, is_regex: bool) -> Hits:
    return regex_hits(config, path, text, model, search=True) if is_regex else by_prefix(text, model.tensors)


def _first_share(model: ModelNames, ratio: float) -> list[str]:
    sizes = [info.numel for info in model.tensors.values()]
    border = int(sum(sizes) * ratio)
    return [name for name, end in zip(model.tensors, accumulate(sizes), strict=True) if end <= border]
