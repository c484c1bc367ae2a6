"""AllenNLP: ``trainer.no_grad`` and ``trainer.optimizer.parameter_groups``.

Restates ``GradientDescentTrainer.from_partial_objects`` and ``make_parameter_groups`` of AllenNLP 2.10.1,
https://github.com/allenai/allennlp/tree/main/allennlp/training: ``re.search`` throughout, no tensor in two groups, a
group with ``requires_grad: false`` is frozen.
"""

from __future__ import annotations

from collections.abc import Mapping

from freezeplan.importing.config_file import ConfigFile
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.peers.findings import Findings, everything, refuse_nothing, regex_hits
from freezeplan.importing.reading import FROZEN, TRAINED, PhaseReading, Reading, Statement, Treatment
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
    findings, statements = Findings(config, model), []
    outcome = everything(model, TRAINED)
    for path, text in config.strings("trainer", "no_grad"):
        hits = findings.hits(path, text, regex_hits(config, path, text, model, search=True))
        statements.append(Statement(f"no_grad: {text}", config.span(path)))
        outcome |= dict.fromkeys(hits.of(meant), (FROZEN, len(statements) - 1))
    _groups(config, model, findings, statements, outcome, meant)
    refuse_nothing(config, ("trainer",), outcome)
    kind = config.at(*OPTIMIZER)
    kind = kind if isinstance(kind, str) else config.text(*OPTIMIZER, "type") or "adam"
    rate, decay = config.rate(*OPTIMIZER, "lr"), config.rate(*OPTIMIZER, "weight_decay")
    defaults = DEFAULTS.get(kind, (None, 0.0))
    return Reading(
        tuple(statements),
        (PhaseReading(outcome),),
        lr=defaults[0] if rate is None else rate,
        weight_decay=defaults[1] if decay is None else decay,
        findings=tuple(findings.items),
    )


def _groups(
    config: ConfigFile,
    model: ModelNames,
    findings: Findings,
    statements: list[Statement],
    outcome: dict[str, tuple[Treatment, int]],
    meant: bool,
) -> None:
    owner: dict[str, int] = {}
    for index, group in enumerate(config.entries(*OPTIMIZER, "parameter_groups")):
        path: KeyPath = (*OPTIMIZER, "parameter_groups", index)
        if not (isinstance(group, list) and len(group) == 2 and isinstance(group[1], Mapping)):
            raise config.error(
                path, "FP194", "there it is an error: a group is a list of expressions and a table"
            )
        treatment = _treatment(config, (*path, 1), group[1], findings)
        for place, text in config.strings(*path, 0):
            found = regex_hits(config, place, text, model, search=True)
            hits = findings.hits(place, text, found)
            statements.append(Statement(f"parameter_groups: {text}", config.span(place)))
            for name in hits.of(meant):
                if outcome[name][0].trained or owner.get(name) is not None:
                    if owner.setdefault(name, index) != index:
                        raise config.error(place, "FP194", f"there it is an error: `{name}` is in two groups")
                    outcome[name] = (treatment, len(statements) - 1)


def _treatment(
    config: ConfigFile, path: KeyPath, table: Mapping[str, object], findings: Findings
) -> Treatment:
    for key in table:
        if key not in SETTINGS:
            raise config.error(
                (*path, key), "FP193", f"`{key}` of a group cannot be imported: add it to the rule by hand"
            )
    if table.get("requires_grad") is False:
        return FROZEN
    rate = config.rate(*path, "lr")
    if rate == 0:
        raise config.error((*path, "lr"), "FP193", "a rate of 0 cannot be imported: it is not frozen")
    return Treatment(True, lr=rate, weight_decay=config.rate(*path, "weight_decay"))
