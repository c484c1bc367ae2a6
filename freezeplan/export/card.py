"""Gathers what the card of an export says: from the run's plan, its record, its evidence, its spec. Nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from freezeplan.diagnostics.wording import counted
from freezeplan.export.front_matter import Shipped, front_matter
from freezeplan.models.run_record import CHECKPOINTS, file_of, home_of, read_state
from freezeplan.outside.hub import is_hub_id
from freezeplan.outside.packages import PREFIX, TIMM
from freezeplan.plan.reading import plan_from_json
from freezeplan.plan.records import Plan
from freezeplan.render.markdown import code, prose
from freezeplan.render.model_card import ModelCard, PhaseFacts, Score, SplitFacts
from freezeplan.render.notebook import plan_text
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec, Task
from freezeplan.train.saved_run import SavedRun

FROM_HUB = ("config of the hub model", "config in the local cache")
SPLITS = ("train", "validation", "test")
OUTPUTS = 100
SEPARATORS = re.compile(r"[/\\]+")


@dataclass(frozen=True)
class _Facts:
    """Hold the files of a run that a card is made from."""

    run: SavedRun
    home: Path
    spec: Spec
    task: Task
    plan: Plan
    state: Mapping[str, Any]
    at_checkpoint: bool

    @property
    def rows(self) -> Mapping[str, Any]:
        """What a checkpoint says of the task's rows, by split; nothing where the run keeps none."""
        return self.state.get("identity", {}).get("data", {}).get(self.task.name, {})

    @property
    def base(self) -> str | None:
        """The model on the hub that the run began with, where it began with one."""
        source = self.spec.model.source
        return source if source and self.plan.origin in FROM_HUB and is_hub_id(source) else None

    @property
    def source(self) -> str:
        """What the run began with, without any folder of this machine."""
        table = self.spec.model
        if table.source is not None:
            return (
                table.source if self.base or table.source.startswith((PREFIX, TIMM)) else _bare(table.source)
            )
        return f"random weights of {_bare(table.architecture) if table.architecture else 'a config'}"


def card_of(run: SavedRun, task: str, shipped: Shipped) -> ModelCard:
    """Return the card of an exported task of a run."""
    facts = _facts(run, task)
    plan = replace(
        facts.plan, model=f"{facts.source} + {counted(len(run.labels), 'head')}", origin="", diagnostics=()
    )
    # What a head was measured by says nothing of a folder without it; a head that compares has no tensors.
    measured = shipped.holds_head or run.kinds[task].compares
    scores = tuple(_scores(facts)) if measured else ()
    return ModelCard(
        front=front_matter(shipped, facts.base, facts.task, scores),
        task=task,
        kind=run.kinds[task].name,
        loads_as=shipped.loads_as,
        python=shipped.python,
        outputs=_shortened(run.labels[task]) if shipped.holds_head else (),
        plan=plan_text(plan),
        proof=shipped.proof,
        source=facts.source,
        phases=tuple(_phases(facts)),
        splits=tuple(_splits(facts)),
        scores=scores,
        limits=tuple(_limits(facts)),
        hashes=_hashes(facts),
        versions={name: str(found) for name, found in run.record.get("libraries", {}).items()},
    )


def _facts(run: SavedRun, task: str) -> _Facts:
    home, checkpoint = home_of(run.folder)
    spec = load_spec(home / "spec.toml")
    table = next(item for item in spec.task if item.name == task)
    names = sorted(
        item for item in run.record.get("checkpoints") or () if (home / CHECKPOINTS / item).is_dir()
    )
    name = checkpoint or (names[-1] if names else None)
    try:
        state = read_state(home, name) if name else {}
    except (OSError, ValueError):
        if checkpoint is not None:
            raise
        state = {}  # it says how many rows there were, and no more
    plan = plan_from_json(file_of(home, "plan.json").read_text("utf-8"), "plan.json")
    return _Facts(run, home, spec, table, plan, state, checkpoint is not None)


def _phases(facts: _Facts) -> Iterator[PhaseFacts]:
    place = file_of(facts.home, "evidence.json")
    if facts.at_checkpoint or not place.exists():
        return
    for phase in json.loads(place.read_text("utf-8"))["phases"]:
        yield PhaseFacts(phase["phase"], phase["steps"], phase["ended"] or "goes on", phase["statement"])


def _splits(facts: _Facts) -> Iterator[SplitFacts]:
    """Yield where the task's rows came from: names of files or of the hub's splits."""
    data = facts.task.data
    for split in SPLITS if data is not None else ():
        given = getattr(data, split)
        if given is not None:
            whole = data.hub if data.subset is None else f"{data.hub} ({data.subset})"
            names = tuple(f"{whole}: {name}" for name in given) if data.hub else tuple(map(_bare, given))
            record = facts.rows.get(split, {})
            yield SplitFacts(split, names, "streamed" if "files" in record else record.get("rows"))


def _scores(facts: _Facts) -> Iterator[Score]:
    """Yield what was measured of the weights that are exported."""
    if facts.at_checkpoint:
        found = {"validation": facts.state.get("validation") or {}}
    else:
        measured = facts.run.record.get("scores") or {}
        found = {split: measured[split]["scores"] for split in SPLITS if split in measured}
    for split, tasks in found.items():
        rows = facts.rows.get(split, {}).get("rows")
        for metric, value in tasks.get(facts.task.name, {}).items():
            yield Score(split, metric, value, rows)


def _limits(facts: _Facts) -> Iterator[str]:
    record, task = facts.run.record, facts.task.name
    if record.get("max_length"):
        yield f"Texts are cut at {record['max_length']} tokens."
    if record.get("precision", "float32") != "float32":
        yield f"It was trained and measured in {code(str(record['precision']))}; the proof above is in float32."
    if record.get("frozen_dtype"):
        kept = code(str(record["frozen_dtype"]))
        yield f"Weights that it never trained were kept in {kept}: here they have those numbers, in float32."
    if record.get("status") != "finished":
        yield f"The run was not finished: its status is {code(str(record.get('status')))}."
    if len(facts.run.labels) > 1:
        others = len(facts.run.labels) - 1
        yield f"The backbone was trained for {counted(others, 'other task')} too, which are not in this folder."
    yield from _drifts(facts, task)
    for item in facts.plan.diagnostics:
        if item.severity == "warning":
            yield f"{item.code}, known before the training: {prose(item.message)}"


def _drifts(facts: _Facts, task: str) -> Iterator[str]:
    place = file_of(facts.home, "evidence.json")
    phases = json.loads(place.read_text("utf-8"))["phases"] if place.exists() else []
    for phase in phases:
        for drift in phase.get("drift", ()):
            if drift["task"] == task:
                changes = ", ".join(f"{name} {value:+.4f}" for name, value in drift["changes"].items())
                yield (
                    f"Its head was frozen in {code(drift['since'])} while the backbone under it went on training; "
                    f"by the end of {code(phase['phase'])} validation had changed by {changes}."
                )


def _hashes(facts: _Facts) -> dict[str, str]:
    record = facts.run.record
    weights = facts.state.get("weights") if facts.at_checkpoint else record.get("weights")
    found = {"plan (sha256)": record.get("plan_hash"), "record of the run (sha256)": record.get("sha256")}
    files = {f"{code(Path(name).name)} (sha256)": digest for name, digest in (weights or {}).items()}
    return {name: digest for name, digest in {**found, **files}.items() if digest}


def _bare(text: str) -> str:
    """Return the last part of a path of any system: no folder of anyone's machine.

    >>> _bare("/home/me/data/rows.jsonl"), _bare("C:\\\\data\\\\rows.csv"), _bare("data/")
    ('rows.jsonl', 'rows.csv', 'data')
    """
    parts = [part for part in SEPARATORS.split(text) if part]
    return parts[-1] if parts else text


def _shortened(labels: tuple[str, ...]) -> tuple[str, ...]:
    return labels if len(labels) <= OUTPUTS else (*labels[:OUTPUTS], f"and {len(labels) - OUTPUTS} more")
