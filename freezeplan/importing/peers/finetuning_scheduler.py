"""finetuning-scheduler: YAML schedules of Lightning's callback.

Restates ``ScheduleParsingMixin`` of finetuning-scheduler 2.14.1,
https://github.com/speediedan/finetuning-scheduler/blob/main/src/finetuning_scheduler/fts_supporters.py: an entry of
``params`` is a name or goes to ``re.match``; each phase trains its own and those of all before it, at the phase's rate
or ``base_max_lr`` (1e-5), and phase 0 at the optimizer's. What no phase lists stays frozen.
"""

from __future__ import annotations

from collections.abc import Mapping

from freezeplan.importing.config_file import ConfigFile
from freezeplan.importing.hits import Hits
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.peers.findings import Findings, everything, regex_hits
from freezeplan.importing.reading import FROZEN, TRAINED, PhaseReading, Reading, Statement, Treatment
from freezeplan.spec.locations import KeyPath

NAME, TITLE = "finetuning-scheduler", "finetuning-scheduler"
BASE_MAX_RATE = 1e-5
KEYS = ("params", "lr", "max_transition_epoch", "new_lr_scheduler", "new_optimizer")
CANNOT = {
    "new_lr_scheduler": "another scheduler from this phase on is code of Lightning's",
    "new_optimizer": "an optimizer is chosen once for a run here",
}


def recognises(config: ConfigFile) -> bool:
    """Tell whether a config is of this tool."""
    tables = config.data.values()
    return all(str(key).isdecimal() for key in config.data) and all(
        isinstance(table, Mapping) for table in tables
    )


def read(config: ConfigFile, model: ModelNames, meant: bool) -> Reading:
    """Return what a config does to a model, literally or as it is meant."""
    findings, statements = Findings(config, model), []
    outcome, phases, ended = everything(model, FROZEN), [], 0
    listed: dict[str, str | int] = {}
    for depth, key in enumerate(_keys(config)):
        path: KeyPath = (key,)
        config.without(CANNOT, key)  # type: ignore[arg-type]
        treatment = _treatment(config, key, depth, findings)
        for place, text in _params(config, path, findings, meant):
            hits = _hits(config, place, text, model, findings)
            statements.append(Statement(f"phase {depth}: {text}", config.span(place)))
            for name in (name for name in model.tensors if name in hits.of(meant)):
                if listed.setdefault(name, key) != key:
                    reason = f"phases {listed[name]} and {key} both list `{name}`"
                    raise config.error(place, "FP194", f"there it is an error: {reason}")
                outcome[name] = (treatment, len(statements) - 1)
        epochs = _epochs(config, path, ended, findings)
        ended += epochs
        phases.append(PhaseReading(dict(outcome), f"phase {depth}", epochs))
    return Reading(tuple(statements), tuple(phases), findings=tuple(findings.items))


def _keys(config: ConfigFile) -> list[int | str]:
    keys = [key for key in config.data if str(key).isdecimal() and len(str(key)) < 6]
    if len(keys) != len(config.data):
        raise config.error((), "FP194", "there it is an error: a phase is named by its number")
    keys.sort(key=int)
    if [int(key) for key in keys] != list(range(len(keys))):
        raise config.error((), "FP194", "there it is an error: the phases are not numbered 0, 1, 2 …")
    return keys


def _treatment(config: ConfigFile, key: int | str, depth: int, findings: Findings) -> Treatment:
    rate = config.rate(key, "lr")
    if depth == 0:
        return TRAINED
    if rate is None:
        message = f"phase {key} has no `lr`: it is the callback's `base_max_lr`, 1e-05 where that is not set"
        findings.left_out((key,), message, "set the rate of the rules, if it is another one")
    return Treatment(True, lr=BASE_MAX_RATE if rate is None else rate)


def _params(config: ConfigFile, path: KeyPath, findings: Findings, meant: bool) -> list[tuple[KeyPath, str]]:
    """Return the entries of a phase; a key that is not read may be a misspelt ``params``."""
    table = config.table(*path)
    found = config.strings(*path, "params")
    for key in table:
        if key not in KEYS:
            near = config.near(str(key), KEYS)
            config.at(*path, key)
            findings.accident((*path, key), f"`{key}` is not read there" + (f": {near}" if near else ""))
            if meant and near == "did you mean `params`?" and not found:
                found = config.strings(*path, key)
    if path[0] in (0, "0") and config.at(*path, "lr") is not None:
        findings.accident((*path, "lr"), "`lr` of phase 0 is not read there: the optimizer's own holds")
    return found


def _hits(config: ConfigFile, path: KeyPath, text: str, model: ModelNames, findings: Findings) -> Hits:
    if text in model.tensors:
        return Hits(frozenset([text]), frozenset([text]))
    if text in model.first_names:
        findings.left_out(
            path, f"`{text}` is another name of `{model.first_names[text]}`: there it is left out"
        )
        return Hits(frozenset(), frozenset())
    hits = regex_hits(config, path, text, model)
    if not hits.literal:
        raise config.error(path, "FP194", f"there `{text}` is an error: it matches no parameter")
    return findings.hits(path, text, hits)


def _epochs(config: ConfigFile, path: KeyPath, ended: int, findings: Findings) -> int:
    end = config.number(*path, "max_transition_epoch")
    if end is not None and end > ended:
        return int(end) - ended
    message = f"how long phase {path[0]} lasts is not in the schedule: EarlyStopping ends it there"
    findings.left_out(path, message, "it has one epoch here: set `epochs`, or `until` a metric")
    return 1
