"""What comes before the first trial of a comparison: the probe, the candidates' specs, and what each will cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freezeplan.choose.comparison_records import StrategyCandidate
from freezeplan.choose.predicting import predicted, usual_length
from freezeplan.choose.probing import Probed, probed
from freezeplan.choose.strategies import (
    FEATURES,
    KNOWN,
    Strategy,
    StrategyRates,
    candidate_text,
    is_name,
    language_strategies,
    rates_of,
    strategies_for,
)
from freezeplan.choose.timing import is_language, timed
from freezeplan.choose.trials import Advanced, advance, run_name
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import closest_or_all, counted, quoted
from freezeplan.models.sources import inventory_for
from freezeplan.plan import compile_plan
from freezeplan.plan.document import as_json
from freezeplan.runs.events import Observer, Working
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec
from freezeplan.tasks import falls
from freezeplan.tasks.heads import ComparisonHead, CosineHead, LinearHead, VectorHead


@dataclass(frozen=True)
class ComparedStrategies:
    """Say what is compared: the strategies by ``names`` (none: all), and of runs of how many epochs.

    ``trial_epochs`` is None where candidates are trained to their ends.
    """

    names: Sequence[str]
    trial_epochs: int | None


@dataclass(frozen=True)
class ComparisonStart:
    """Hold what a comparison begins with; ``features`` is the run that holds the linear probes as heads.

    ``length`` is that of the usual text, None where that is not known.
    """

    model: str
    tasks: tuple[dict[str, Any], ...]
    epochs: int
    candidates: tuple[StrategyCandidate, ...]
    features: Advanced | None = None
    length: int | None = None


def prepared(spec: Spec, folder: Path, asked: ComparedStrategies, observer: Observer) -> ComparisonStart:
    """Probe the spec's tasks, write specs for each candidate below ``folder``, and predict what each costs.

    Writes ``probe.json`` too, and a run that holds the linear probes as heads: what warm candidates begin with.
    """
    plan = compile_plan(inventory_for(spec), spec)
    _check_names(KNOWN, [name for name in asked.names if not is_name(name)])
    found = timed(spec, observer) if is_language(spec) else probed(spec, observer)
    _check_all_compared(spec, found)
    kinds = {task.name: (task.kind.name, task.kind.metric_names[0]) for task in found.setup.tasks}
    tasks = compared_tasks(spec, kinds)
    rates, epochs = rates_of(spec, plan), spec.train.epochs
    strategies = _strategies(spec, found, rates, epochs)
    chosen = _chosen(strategies, asked.names)
    if found.report.tasks:
        _write(folder / "probe.json", as_json(found.report.to_record()))
    writing = _Writing(spec, folder, rates, asked.trial_epochs)
    source, features = None, None
    if strategies[0].name == FEATURES:
        run = folder / run_name(FEATURES, spec.train.seed)
        observer(Working("writing the linear probes as heads"))
        features = advance(writing.file(strategies[0], None), run, 0, observer, found.fits)
        source = f"../{run.relative_to(folder)}"
    candidates = _candidates(writing, chosen, source, found, observer)
    return ComparisonStart(
        found.report.model, tasks, epochs, tuple(candidates), features, usual_length(found)
    )


def compared_tasks(spec: Spec, kinds: Mapping[str, tuple[str, str]]) -> tuple[dict[str, Any], ...]:
    """Return what is said of each task; ``train.score`` gives the weights, of the metrics that are compared.

    A metric that is better when it is smaller counts with its negative, so that more is better throughout.
    """
    compared = {f"{task}/{metric}" for task, (_, metric) in kinds.items()}
    weights = spec.train.score or {name: -1.0 if falls(name) else 1.0 for name in sorted(compared)}
    for name in weights:
        if name not in compared:
            message = f"`score` names `{name}`, and comparisons judge by {quoted(sorted(compared))}"
            advice = "name these in `train.score`, or leave it out"
            raise spec.locations.error(("train", "score"), "FP594", message, help=advice)
    return tuple(
        {
            "name": task.name,
            "kind": kinds[task.name][0],
            "metric": kinds[task.name][1],
            "weight": weights.get(f"{task.name}/{kinds[task.name][1]}", 0.0),
        }
        for task in spec.task
    )


def _check_all_compared(spec: Spec, found: Probed) -> None:
    problems = [
        spec.locations.report(
            ("task", index),
            "FP594",
            f"task `{task.name}` cannot be compared: {left.reason}",
            help="take the task out of the spec that is compared",
        )
        for index, task in enumerate(spec.task)
        for left in found.report.left_out
        if left.task == task.name
    ]
    if problems:
        raise DiagnosticError(problems)


def _strategies(spec: Spec, found: Probed, rates: StrategyRates, epochs: int) -> list[Strategy]:
    first = found.report.layers[0]
    stack = next(stack for stack in found.setup.stacks if first in stack.layers)
    if is_language(spec):
        return language_strategies(inventory_for(spec), stack, rates, epochs)
    everything = strategies_for(inventory_for(spec), stack, rates, epochs)
    if all(
        isinstance(head, (LinearHead, CosineHead, ComparisonHead, VectorHead))
        for head in found.setup.model.heads.values()
    ):
        return everything
    # Heads of the model's own make are no linear maps.
    return [item for item in everything if item.name != FEATURES and not item.warm]


def _chosen(strategies: Sequence[Strategy], names: Sequence[str]) -> list[Strategy]:
    known = {item.name: item for item in strategies}
    _check_names(list(known), [name for name in names if name not in known])
    return [known[name] for name in dict.fromkeys(names)] if names else list(strategies)


def _check_names(known: Sequence[str], unknown: Sequence[str]) -> None:
    if unknown:
        message = f"there is no strategy `{unknown[0]}` for this model"
        advice = closest_or_all(unknown[0], list(known), "strategies")
        raise DiagnosticError([diagnostic("FP595", message, help=advice)])


@dataclass(frozen=True)
class _Writing:
    """Write candidates' specs: of whole runs, and of runs that end after ``trial_epochs``, where they do."""

    spec: Spec
    folder: Path
    rates: StrategyRates
    trial_epochs: int | None

    def file(self, strategy: Strategy, source: str | None) -> Path:
        """Write the spec of a whole run; return its file."""
        return self._write(strategy, source, strategy.name, self.spec.train.epochs)

    def trial(self, strategy: Strategy, source: str | None, whole: Path) -> Path | None:
        """Write the spec of what is run; return its file, None where the strategy needs more epochs."""
        if self.trial_epochs in (None, self.spec.train.epochs) or not strategy.trains:
            return whole
        if strategy.gradual is not None:
            return None
        return self._write(strategy, source, f"{strategy.name}-trial", self.trial_epochs)

    def _write(self, strategy: Strategy, source: str | None, name: str, epochs: int) -> Path:
        path = self.folder / "specs" / f"{name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        used = source if strategy.warm and strategy.trains else None
        text = candidate_text(
            self.spec, strategy, self.rates, epochs, path.parent, used, self.spec.train.seed
        )
        _write(path, f"# {strategy.words}\n\n{text}")
        return path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8", newline="\n")


def _candidates(
    writing: _Writing,
    chosen: Sequence[Strategy],
    source: str | None,
    found: Probed,
    observer: Observer,
) -> list[StrategyCandidate]:
    """Write the specs of each strategy, and predict what all of them take."""
    observer(Working(f"working out what {counted(len(chosen), 'candidate')} will take"))
    paths = [writing.file(strategy, source) for strategy in chosen]
    specs = [load_spec(path) for path in paths]
    plans = [(spec, compile_plan(inventory_for(spec), spec)) for spec in specs]
    costs = predicted(plans, found)
    made = []
    for strategy, path, cost in zip(chosen, paths, costs, strict=True):
        trial = writing.trial(strategy, source, path)
        item = StrategyCandidate(
            name=strategy.name,
            words=strategy.words,
            spec=str(path.relative_to(writing.folder)),
            warm=strategy.warm and source is not None,
            trial=str((trial or path).relative_to(writing.folder)),
            flops=cost.flops,
            seconds=cost.seconds,
        )
        if trial is None:
            item.left_out, item.untried = "it thaws over more epochs than a trial has (`--thorough`)", True
        made.append(item)
    return made
