"""timm: ``args.yaml`` or the command line of its ``train.py``.

Restates ``param_groups_weight_decay`` and ``param_groups_layer_decay`` of timm 1.0.31,
https://github.com/huggingface/pytorch-image-models/blob/main/timm/optim/_param_groups.py: no decay for tensors of at
most one axis and those that the model lists; with a layer decay the rate of each group of ``group_matcher`` times a
power of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from freezeplan.importing.config_file import ConfigFile
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.peers.drafting import Draft
from freezeplan.importing.reading import TRAINED, Reading, Treatment

NAME, TITLE = "timm", "timm's train.py"
KEYS = {"layer_decay", "drop_path", "sched", "warmup_lr", "smoothing", "mixup", "aa", "lr_base"}

RATE_KEYS = ("lr_base", "lr_base_size", "lr_base_scale")
CANNOT = {
    "layer_decay_no_opt_scale": "it leaves layers of a small rate out of the optimizer, without freezing them"
}
GROUPING = re.compile(r"lr|decay|filter_bias|param_group|fallback")


def recognises(config: ConfigFile) -> bool:
    """Tell whether a config is of this tool."""
    return "opt" in config.data and bool(KEYS & config.data.keys())


def read(config: ConfigFile, model: ModelNames, meant: bool) -> Reading:
    """Return what a config does to a model; there is one reading of it."""
    config.without(CANNOT)
    _refuse_options(config)
    draft = Draft(config, model, meant, TRAINED)
    rate, decay = config.rate("lr"), config.rate("weight_decay")
    least, layer_decay = config.rate("layer_decay_min_scale") or 0.0, config.rate("layer_decay")
    if layer_decay:
        draft.say(f"layer_decay: {layer_decay:g}", ("layer_decay",))
        draft.outcome = _decayed(config, model, layer_decay)
    message = "the rate is not in the config: there it follows from `lr_base` and the batch size"
    place = next((key for key in ("lr_base", "lr_base_size", "lr") if key in config.data), "")
    missing = config.error((place,), "FP193", message, "pass --lr, the rate that its log prints")
    draft.findings.unused(() if rate is None else RATE_KEYS, "`lr` is given")
    for key in RATE_KEYS:
        config.at(key)
    return replace(
        draft.reading(rate, 2e-5 if decay is None else decay),
        no_decay="timm",
        layer_decay=("timm", layer_decay, least) if layer_decay else None,
        without_rate=missing,
    )


def _refuse_options(config: ConfigFile) -> None:
    """Refuse optimizers that divide the tensors for themselves, and options that reach the grouping."""
    kind = str(config.at("opt") or "")
    if "muon" in kind.lower():
        message = f"`{kind}` cannot be imported: it hands some tensors to another optimizer"
        raise config.error(("opt",), "FP193", message)
    given = config.at("opt_kwargs")
    words = given if isinstance(given, (list, Mapping)) else [given] if given else []
    for word in words:
        if GROUPING.search(str(word)):
            message = f"`{word}` of `opt_kwargs` cannot be imported: it changes rates or weight decay"
            raise config.error(("opt_kwargs",), "FP193", message)


def _decayed(config: ConfigFile, model: ModelNames, rate: float) -> dict[str, tuple[Treatment, int]]:
    rungs = {name: info.rung for name, info in model.tensors.items()}
    if any(rung is None for rung in rungs.values()):
        message = "`layer_decay` cannot be imported: this model has no `group_matcher`, which timm asks"
        raise config.error(("layer_decay",), "FP193", message)
    least = config.rate("layer_decay_min_scale") or 0.0
    top = max(rung for rung in rungs.values() if rung is not None)
    return {
        name: (Treatment(True, lr_mult=max(least, rate ** (top - (rung or 0)))), 0)
        for name, rung in rungs.items()
    }
