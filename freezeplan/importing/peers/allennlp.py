"""AllenNLP: ``trainer.no_grad`` and ``trainer.optimizer.parameter_groups``.

Restates ``GradientDescentTrainer.from_partial_objects`` and ``make_parameter_groups`` of AllenNLP 2.10.1,
https://github.com/allenai/allennlp/tree/main/allennlp/training: ``re.search`` throughout, no tensor in two groups, a
group with ``requires_grad: false`` is frozen.
"""

from __future__ import annotations

from collections.abc import Mapping

from freezeplan.importing.config_file import ConfigFile
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.peers.drafting import Draft
from freezeplan.importing.peers.findings import refuse_nothing, regex_hits
from freezeplan.importing.reading import FROZEN, TRAINED, Reading, Treatment
from freezeplan.spec.locations import KeyPath

NAME, TITLE = "allennlp", "AllenNLP"
# The rate and the weight decay that each optimizer has where the config says nothing.
DEFAULTS = {
    "adam": (1e-3, 0.0),
    "adamw": (1e-3, 0.01),
    "huggingface_adamw": (1e-5, 0.0),
    "adagrad": (1e-2, 0.0),
    "adadelta": (1.0, 0.0),
    "adamax": (2e-3, 0.0),
    "rmsprop": (1e-2, 0.0),
    "sparse_adam": (1e-3, 0.0),
}
OPTIMIZER: KeyPath = ("trainer", "optimizer")
GROUPS: KeyPath = (*OPTIMIZER, "parameter_groups")
SETTINGS = ("lr", "weight_decay", "requires_grad")
CHANGES_RATES = ("gradual_unfreezing", "discriminative_fine_tuning")


def recognises(config: ConfigFile) -> bool:
    """Tell whether a config is of this tool."""
    return any(config.at("trainer", key) is not None for key in ("optimizer", "no_grad"))


def read(config: ConfigFile, model: ModelNames, meant: bool) -> Reading:
    """Return what a config does to a model, literally or as it is meant."""
    reason = (
        "it thaws or scales the groups of the optimizer as it goes; write it as `[gradual]` or `layer_decay`"
    )
    config.without(dict.fromkeys(CHANGES_RATES, reason), "trainer", "learning_rate_scheduler")
    kind = config.at(*OPTIMIZER)
    kind = kind if isinstance(kind, str) else config.text(*OPTIMIZER, "type") or "adam"
    if kind == "multi":
        message = (
            "`multi` cannot be imported: it steps several optimizers; write a spec with `[optimizer.NAME]`"
        )
        raise config.error((*OPTIMIZER, "type"), "FP193", message)
    draft = Draft(config, model, meant, TRAINED)
    for path, text in config.strings("trainer", "no_grad"):
        names = draft.chosen(path, text, regex_hits(config, path, text, model, search=True))
        draft.put(names, FROZEN, draft.say(f"no_grad: {text}", path))
    _groups(draft)
    refuse_nothing(config, ("trainer",), draft.outcome)
    rate, decay = config.rate(*OPTIMIZER, "lr"), config.rate(*OPTIMIZER, "weight_decay")
    usual = DEFAULTS.get(kind, (None, 0.0))
    return draft.reading(usual[0] if rate is None else rate, usual[1] if decay is None else decay)


def _groups(draft: Draft) -> None:
    config, owner = draft.config, {}
    for index, group in enumerate(config.entries(*GROUPS)):
        path: KeyPath = (*GROUPS, index)
        if not (isinstance(group, list) and len(group) == 2 and isinstance(group[1], Mapping)):
            message = "there it is an error: a group is a list of expressions and a table"
            raise config.error(path, "FP194", message)
        treatment = _treatment(config, (*path, 1), group[1])
        for place, text in config.strings(*path, 0):
            names = draft.chosen(place, text, regex_hits(config, place, text, draft.model, search=True))
            open_to = [name for name in names if draft.outcome[name][0].trained or name in owner]
            for name in open_to:
                if owner.setdefault(name, index) != index:
                    raise config.error(place, "FP194", f"there it is an error: `{name}` is in two groups")
            draft.put(open_to, treatment, draft.say(f"parameter_groups: {text}", place))


def _treatment(config: ConfigFile, path: KeyPath, table: Mapping[str, object]) -> Treatment:
    for key in table:
        if key not in SETTINGS:
            message = f"`{key}` of a group cannot be imported: add it to the rule by hand"
            raise config.error((*path, key), "FP193", message)
    rate, decay = config.rate(*path, "lr"), config.rate(*path, "weight_decay")
    if config.at(*path, "requires_grad") is False:
        return FROZEN
    if rate == 0:
        raise config.error((*path, "lr"), "FP193", "a rate of 0 cannot be imported: it is not frozen")
    return Treatment(True, lr=rate, weight_decay=decay)
