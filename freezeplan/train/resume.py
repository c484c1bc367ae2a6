"""Going on with an interrupted run, from its newest sound checkpoint, if nothing it depends on has changed."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import counted, first_few, quoted
from freezeplan.models.config_file import CONFIG_FILE
from freezeplan.models.run_record import RUN_MARKER, file_of, no_run
from freezeplan.plan.diff import LENGTHS, diff_records
from freezeplan.plan.document import record_hash, to_json
from freezeplan.plan.records import Plan
from freezeplan.render.diff import difference_lines
from freezeplan.runs.checkpoints.contents import check_contents, read_plan
from freezeplan.runs.checkpoints.store import Checkpoint, CheckpointStore
from freezeplan.runs.events import Observer, ignore_events
from freezeplan.runs.readable import readable
from freezeplan.runs.run_folder import RunFolder, status_of
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec
from freezeplan.train.failures import explained
from freezeplan.train.identity import identity_of
from freezeplan.train.own_source import SPEC, check_own, check_spec, own_spec
from freezeplan.train.run import Opened, RunResult, interrupted, result_of
from freezeplan.train.session import Session
from freezeplan.train.setup import Setup, prepare
from freezeplan.train.streaming import other_data

ALLOWED = {"lr": "rates, weight decay, options, schedules", "epochs": "lengths and `stop_when`"}
SHOWN = 20


@dataclass(frozen=True)
class Stop:
    """Where an interrupted run can go on: its newest sound checkpoint.

    ``skipped`` maps newer ones to what is wrong with them, ``damaged`` older ones.
    """

    folder: Path
    checkpoint: Checkpoint
    skipped: Mapping[str, str]
    finished: bool
    damaged: Mapping[str, str]

    @property
    def plan(self) -> dict[str, Any]:
        """The record of the plan that the checkpoint was made under."""
        return json.loads(read_plan(self.checkpoint.path))

    @property
    def spec(self) -> Spec:
        """The spec of the run. Raises ``DiagnosticError`` (FP521) when it is not the one that was written."""
        check_spec(self.folder)
        return load_spec(self.folder / SPEC)

    def own(self, spec: Spec) -> Spec:
        """Return a spec with this run's folder as the source of its model."""
        return own_spec(spec, self.folder)

    def warnings(self) -> tuple[Diagnostic, ...]:
        """Return FP541 for each checkpoint that cannot be used."""
        newer = f"the run goes on from `{self.checkpoint.name}`, the one before"
        advice = dict.fromkeys(self.skipped, newer) | dict.fromkeys(self.damaged, "it is left as it is")
        return tuple(
            diagnostic("FP541", f"checkpoint `{name}` is damaged: {reason}", help=advice[name])
            for name, reason in {**self.damaged, **self.skipped}.items()
        )


def find_stop(folder: Path) -> Stop:
    """Find where the run in a folder can go on; nothing is changed.

    Raises ``DiagnosticError``: FP520 for a folder that holds no run, FP542 when no checkpoint can be used, FP521
    when its config, tokenizer or image processor is not what was written.
    """
    with readable(folder):
        return _found_stop(folder)


def _found_stop(folder: Path) -> Stop:
    if not file_of(folder, RUN_MARKER).is_file():
        raise no_run(folder)
    store = CheckpointStore(folder)
    found, reasons = store.newest(check_contents)
    if found is None:
        what = "none of its checkpoints can be used" if reasons else "it has no checkpoint"
        notes = [f"`{name}`: {reason}" for name, reason in reasons.items()]
        advice = "start it again: `freezeplan train … --overwrite`"
        raise DiagnosticError(
            [diagnostic("FP542", f"`{folder}` cannot be resumed: {what}", help=advice, notes=notes)]
        )
    check_own(folder)
    return Stop(folder, found, reasons, status_of(folder) == "finished", store.damaged(found.name))


def resume(
    folder: Path,
    observer: Observer = ignore_events,
    spec: Spec | None = None,
    plan: Plan | None = None,
    allow: Collection[str] = (),
    opened: Opened | None = None,
) -> RunResult:
    """Go on with an interrupted or killed run, and end as if it had never been stopped, to the last bit.

    ``spec`` is the run's own unless another is given; ``plan`` the one that was shown for it. ``allow`` names
    what may differ from the plan of the run: ``lr`` (rates, weight decay, options, schedules) and ``epochs``
    (lengths and ``stop_when``). ``opened`` is called with the session before its first step. Damaged checkpoints are
    passed over, with a warning (FP541).

    Returns what :func:`freezeplan.train.run.train` does. Raises ``DiagnosticError``: FP505 for a folder that
    another run is working in, FP520, FP542 (see :func:`find_stop`), FP543 for another plan, FP544 for other
    data, FP545 for other settings, FP546 for a run that is finished; nothing is changed then.
    """
    place = RunFolder(Path(folder), started=True)
    with place.claimed():
        return _resumed(place, observer, spec, plan, allow, opened)


def _resumed(
    place: RunFolder,
    observer: Observer,
    spec: Spec | None,
    plan: Plan | None,
    allow: Collection[str],
    opened: Opened | None,
) -> RunResult:
    stop = find_stop(place.path)
    session: Session | None = None
    try:
        if plan is not None:
            check_plan(stop, plan, allow)
        with explained():
            setup = prepare(stop.spec if spec is None else load_spec(spec), plan, place.path, observer)
        accepted = check_plan(stop, setup.plan, allow)
        found = (*stop.warnings(), *accepted, *_check_identity(stop, setup))
        setup = replace(setup, warnings=(*setup.warnings, *found))
        _check_unfinished(stop, setup)
        session = Session(setup, place, observer)
        if opened is not None:
            opened(session)
        session.run(stop.checkpoint, stop.skipped)
    except KeyboardInterrupt:
        return interrupted(session, place, observer)
    return result_of("finished", session, place)


def check_plan(stop: Stop, plan: Plan, allow: Collection[str]) -> tuple[Diagnostic, ...]:
    """Compare a plan with that of the run; returns a warning (FP547) with the differences that ``allow`` covers.

    Raises ``DiagnosticError`` (FP543) with all others.
    """
    before, after = stop.plan, json.loads(to_json(plan))
    if record_hash(before) == record_hash(after):
        return ()
    found = diff_records(before, after)
    if not found and before.get("format_version") != after["format_version"]:
        return ()  # The run began with an older form of the same plan.
    refused = [item for item in found if item.kind not in allow]
    if not refused:
        lines = difference_lines(found) or ["only names of rules or groups"]
        message = f"the plan is not the one that the run began with: {_count(found)}"
        return (diagnostic("FP547", message, notes=first_few(lines, SHOWN)),)
    needed = sorted({item.kind for item in refused})
    safe = all(kind in ALLOWED for kind in needed)
    advice = (
        f"if that is meant, add `--allow {','.join(sorted({*needed, *allow}))}`; the run then goes on from here with it"
        if safe
        else "put the spec back as it was, or start a new run; of a plan only rates (`--allow lr`) and lengths "
        "(`--allow epochs`) may change"
    )
    message = f"the plan is not the one that the run began with: {_count(refused)}"
    raise DiagnosticError(
        [diagnostic("FP543", message, help=advice, notes=first_few(difference_lines(refused), SHOWN))]
    )


def _check_identity(stop: Stop, setup: Setup) -> tuple[Diagnostic, ...]:
    """Compare data and settings with those of the run; returns a warning where bits may come out differently."""
    before, after = stop.checkpoint.state["identity"], identity_of(setup)
    problems = [*_changed_data(before["data"], after["data"]), *_changed_settings(before, after)]
    problems += _changed_config(stop, setup)
    if problems:
        raise DiagnosticError(problems)
    changed = _differences(before["surroundings"], after["surroundings"])
    if not changed:
        return ()
    message = "the run goes on in other surroundings: the same bits as without the stop are not certain"
    return (diagnostic("FP548", message, notes=changed),)


def _changed_data(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Diagnostic]:
    notes = []
    for task in dict.fromkeys([*before, *after]):
        old, new = before.get(task, {}), after.get(task, {})
        for split in dict.fromkeys([*old, *new]):
            if old.get(split) != new.get(split):
                notes.append(f"task `{task}`, {split}: {_change(old.get(split), new.get(split))}")
    return [other_data(notes, ": which rows a step takes depends on all of them")] if notes else []


def _change(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> str:
    """Say how one split differs from another; of streamed rows, the files are compared."""
    if any("files" in item for item in (old, new) if item):
        said = [
            f"{counted(item['files'], 'file')} of {counted(item['bytes'], 'byte')}"
            if item and "files" in item
            else "no streamed rows"
            for item in (old, new)
        ]
        return (
            f"{said[0]}, now {said[1]}" if said[0] != said[1] else f"{said[0]}, with other names or content"
        )
    rows = ["no" if item is None else str(item["rows"]) for item in (old, new)]
    same = rows[0] == rows[1]
    return "the same number of rows, other ones" if same else f"{rows[0]} rows, now {rows[1]}"


def _changed_config(stop: Stop, setup: Setup) -> list[Diagnostic]:
    """Compare the model's config with the one in the run's folder, where it was read from its source again."""
    before = json.loads(file_of(stop.folder, CONFIG_FILE).read_text("utf-8"))
    after = json.loads(setup.model.backbone.config.to_json_string()) | dict(setup.attention)
    notes = _differences({name: value for name, value in before.items() if name in after}, after)
    if not notes:
        return []
    message = "the model's config is not the one that the run began with"
    advice = "put the config back as it was, or start a new run"
    return [diagnostic("FP545", message, help=advice, notes=first_few(notes, SHOWN))]


def _changed_settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Diagnostic]:
    notes = _differences(before["settings"], after["settings"])
    if not notes:
        return []
    advice = "put them back as they were, or start a new run"
    return [
        diagnostic("FP545", "the settings are not those that the run began with", help=advice, notes=notes)
    ]


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    names = dict.fromkeys([*before, *after])
    return [
        f"{name} was {before.get(name)}, is {after.get(name)}"
        for name in names
        if before.get(name) != after.get(name)
    ]


def _check_unfinished(stop: Stop, setup: Setup) -> None:
    position = stop.checkpoint.state["position"]
    last = position["phase"] == len(setup.phases) - 1
    more = not last or position["phase_step"] < setup.phases[-1].steps
    lengthened = any(
        item.kind == LENGTHS for item in diff_records(stop.plan, json.loads(to_json(setup.plan)))
    )
    if stop.finished and not (more and lengthened):
        advice = "to train longer, lengthen the last phase in the spec and add `--allow epochs`"
        message = f"the run in `{stop.folder}` is finished: there is nothing to go on with"
        raise DiagnosticError([diagnostic("FP546", message, help=advice)])


def _count(found: Collection[object]) -> str:
    return counted(len(found), "difference")


def check_allowed(names: Collection[str]) -> None:
    """Refuse names that ``--allow`` does not know; raises ``ValueError`` that lists the known ones."""
    unknown = [name for name in names if name not in ALLOWED]
    if unknown:
        known = ", ".join(f"{name} ({what})" for name, what in ALLOWED.items())
        raise ValueError(f"{quoted(unknown)} cannot be allowed to differ; known are: {known}")
