"""timm: ``args.yaml`` or the command line of its ``train.py``.

Restates ``param_groups_weight_decay`` and ``param_groups_layer_decay`` of timm 1.0.31,
https://github.com/huggingface/pytorch-image-models/blob/main/timm/optim/_param_groups.py: no decay for tensors of at
most one axis and those that the model lists; with a layer decay the rate of each group of ``group_matcher`` times a
power of it.
"""

from __future__ import annotations

from freezeplan.importing.config_file import ConfigFile
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.peers.findings import Findings, everything
from freezeplan.importing.reading import TRAINED, PhaseReading, Reading, Statement, Treatment

NAME, TITLE = "timm", "timm's train.py"
KEYS = {"layer_decay", "drop_path", "sched", "warmup_lr", "smoothing", "mixup", "aa", "lr_base"}


def recognises(config: ConfigFile) -> bool:
    """Tell whether a config is of this tool."""
    return "opt" in config.data and bool(KEYS & config.data.keys())


def read(config: ConfigFile, model: ModelNames, meant: bool) -> Reading:
    """Return what a config does to a model; there is one reading of it."""
    findings, statements = Findings(config, model), []
    rate, decay = config.rate("lr"), config.rate("weight_decay")
    if rate is None:
        message = "the rate is not in the config: there it follows from `lr_base` and the batch size"
        raise config.error(("lr_base",), "FP193", message, "pass --lr, the rate that its log prints")
    outcome = everything(model, TRAINED)
    if layer_decay := config.rate("layer_decay"):
        statements.append(Statement(f"layer_decay: {layer_decay:g}", config.span(("layer_decay",))))
        outcome = _decayed(config, model, layer_decay)
    return Reading(
        tuple(statements),
        (PhaseReading(outcome),),
        lr=rate,
        weight_decay=2e-5 if decay is None else decay,
        no_decay="timm",
        layer_decay=("timm", layer_decay, config.rate("layer_decay_min_scale") or 0.0)
        if layer_decay
        else None,
        findings=tuple(findings.items),
    )


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
