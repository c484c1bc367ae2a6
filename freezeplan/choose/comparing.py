"""``freezeplan compare``: ways of freezing, run under one budget, the losers stopped early."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy

from freezeplan.choose.comparison_records import (
    CandidateTrial,
    StrategyCandidate,
    StrategyComparison,
    comparison_from_record,
)
from freezeplan.choose.judging import Contender, close_to_best, judged
from freezeplan.choose.outcomes import Outcome
from freezeplan.choose.preparing import ComparisonStart, prepared
from freezeplan.choose.strategies import FEATURES
from freezeplan.choose.trials import Advanced, Outcomes, advance, run_name
from freezeplan.data.reader import parts_of
from freezeplan.data.task_rows import SPLITS
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.runs.events import Event, Observer, Working, ignore_events
from freezeplan.runs.spec_file import spec_text
from freezeplan.spec.amounts import parse_bytes
from freezeplan.spec.tables import Spec
from freezeplan.train.sharing import shared_work

FILE, OUTCOMES = "comparison.json", "outcomes"
OF_ONE = ("FP503", "FP504")
"""What ends one candidate and not the others: a loss that is not finite, and too little memory."""


@dataclass(frozen=True)
class Limits:
    """Hold what a comparison may take: seconds and bytes (None: any), and the most seeds per candidate."""

    seconds: float | None = None
    bytes: int | None = None
    seeds: int = 1


def rungs_of(epochs: int) -> list[int]:
    """Return after how many epochs the better half goes on: a quarter, a half, and all of them.

    >>> rungs_of(8), rungs_of(3), rungs_of(1)
    ([2, 4, 8], [1, 2, 3], [1])
    """
    return sorted({-(-epochs // 4), -(-epochs // 2), epochs})


def compare(
    spec: Spec,
    folder: Path,
    names: Sequence[str] = (),
    limits: Limits | None = None,
    observer: Observer = ignore_events,
    announce: Callable[[StrategyComparison], None] | None = None,
) -> StrategyComparison:
    """Train ways of freezing a spec's model, and say which to choose.

    Candidates are the strategies of the model, or those of them that are named. A linear probe comes first; strategies
    whose heads may begin with it do. After a quarter and after half of the spec's epochs the better half of the
    candidates goes on (successive halving: Jamieson and Talwalkar, Non-stochastic Best Arm Identification and
    Hyperparameter Optimization, 2016, https://arxiv.org/abs/1502.07943), each from where it stopped. Where several
    finish close to the best, they run again with further seeds, as ``limits`` allow.

    All lies in ``folder``: a comparison that was stopped goes on from there. ``announce`` is called before the first
    trial, with what each candidate is predicted to cost. Raises ``DiagnosticError``: FP590 to FP592
    as a probe does, FP593 for a folder that holds something else, FP594 for a task that cannot be compared.
    """
    limits = limits or Limits()
    with shared_work(parse_bytes(spec.train.store_budget)):
        return _Course(spec, folder, tuple(names), limits, observer).run(announce)


class _Course:
    """Run what is left of a comparison."""

    def __init__(
        self, spec: Spec, folder: Path, names: tuple[str, ...], limits: Limits, observer: Observer
    ) -> None:
        self.spec, self.folder, self.names = spec, folder, names
        self.limits, self.observer = limits, observer

    def run(self, announce: Callable[[StrategyComparison], None] | None) -> StrategyComparison:
        identity = _identity(self.spec, self.names)
        found = read_comparison(self.folder, identity)
        if found is None:
            self._check_free()
            made = prepared(self.spec, self.folder, self.names, self.observer)
            found = self._begun(identity, made)
            self._note_features(found, made)
        found.seeds, found.budget = self.limits.seeds, _budget(self.limits)
        self.found = found
        self._leave_out_large()
        self._save()
        if announce is not None and found.verdict is None:
            announce(found)
        self._halve()
        self._repeat()
        contenders = self._contenders()
        if not any(item.finished for item in contenders):
            message = "no candidate ran to its end within the budget"
            raise DiagnosticError([diagnostic("FP596", message, help="give it a larger `--budget`")])
        found.verdict = judged(contenders)
        self._save()
        return found

    def _check_free(self) -> None:
        if self.folder.exists() and not self.folder.is_dir() or self._holds_other_things():
            message = f"`{self.folder}` holds something that is no comparison"
            advice = "name a folder that does not exist yet: `--out FOLDER`"
            raise DiagnosticError([diagnostic("FP593", message, help=advice)])

    def _holds_other_things(self) -> bool:
        ours = {"specs", "runs", OUTCOMES, "probe.json"}
        if not self.folder.is_dir():
            return False
        # Of a comparison that did not get as far as its file there is one run at most.
        runs = [item.name for item in self.folder.glob("runs/*") if not item.name.startswith((FEATURES, "."))]
        return bool(runs) or any(item.name not in ours for item in self.folder.iterdir())

    def _begun(self, identity: str, made: ComparisonStart) -> StrategyComparison:
        return StrategyComparison(
            identity=identity,
            model=made.model,
            tasks=list(made.tasks),
            epochs=made.epochs,
            rungs=rungs_of(made.epochs),
            budget={},
            seeds=1,
            candidates=list(made.candidates),
        )

    def _note_features(self, found: StrategyComparison, made: ComparisonStart) -> None:
        """Note the run of the linear probes as a trial: it is done before the comparison begins."""
        if made.features is not None and any(item.name == FEATURES for item in found.candidates):
            _note(found, self.folder, FEATURES, self.spec.train.seed, 0, made.features)

    def _leave_out_large(self) -> None:
        for item in self.found.candidates:
            # The budget may be another one than before the stop.
            item.left_out = item.left_out if item.failed else None
            if self.limits.bytes is not None and item.peak_bytes > self.limits.bytes:
                item.left_out = "its training steps need more memory than the budget"

    def _halve(self) -> None:
        seed = self.spec.train.seed
        alive = [item for item in self.found.candidates if item.name != FEATURES and not item.left_out]
        for epochs in self.found.rungs:
            alive = [item for item in alive if self._advance(item, seed, epochs)]
            if epochs == self.found.epochs:
                return
            alive.sort(key=lambda item: (-self._score(item, seed, epochs), item.flops))
            alive = alive[: max(1, -(-len(alive) // 2))]

    def _score(self, item: StrategyCandidate, seed: int, epochs: int) -> float:
        trial = self.found.trial(item.name, seed, epochs)
        assert trial is not None
        return trial.score

    def _repeat(self) -> None:
        """Run those that are close to the best again, with one seed after another."""
        first = self.spec.train.seed
        for seed in range(first + 1, first + self.limits.seeds):
            finished = [item for item in self._contenders() if item.finished]
            close = {item.name for item in close_to_best(finished)}
            if len(close) == 1:
                return
            for item in self.found.candidates:
                if item.name in close and item.name != FEATURES:
                    self._advance(item, seed, self.found.epochs)

    def _advance(self, item: StrategyCandidate, seed: int, epochs: int) -> bool:
        """Bring a candidate to so many epochs, unless it is there already; returns False where that cannot be."""
        if self.found.trial(item.name, seed, epochs) is not None:
            return True
        if not self._fits(item, seed, epochs):
            item.left_out = item.left_out or f"no time was left for it after {_done(self.found, item, seed)}"
            self._save()
            return False
        self.observer(Working(f"{item.name}: training"))
        folder = self.folder / run_name(item.name, seed)
        try:
            done = advance(self._spec_of(item, seed), folder, epochs, self._told(item))
        except DiagnosticError as error:
            if error.diagnostics[0].code not in OF_ONE:
                raise
            item.failed, item.left_out = True, f"it failed: {error.diagnostics[0].message}"
            self._save()
            return False
        _note(self.found, self.folder, item.name, seed, epochs, done)
        self._save()
        return True

    def _told(self, item: StrategyCandidate) -> Observer:
        def told(event: Event) -> None:
            if isinstance(event, Working):
                self.observer(Working(f"{item.name}: {event.what}", event.done, event.of))

        return told

    def _spec_of(self, item: StrategyCandidate, seed: int) -> Path:
        """Return the file of a candidate's spec for a seed, which is written where it is not there yet."""
        path = self.folder / item.spec
        if seed == self.spec.train.seed:
            return path
        other = path.with_name(f"{path.stem}-{seed}.toml")
        text = path.read_text("utf-8").replace(f"\nseed = {self.spec.train.seed}\n", f"\nseed = {seed}\n")
        write_text(other, text)
        return other

    def _fits(self, item: StrategyCandidate, seed: int, epochs: int) -> bool:
        if self.limits.seconds is None:
            return True
        last = self.found.last(item.name, seed)
        share = (epochs - (last.epochs if last else 0)) / self.found.epochs
        spent = sum(trial.seconds for trial in self.found.trials)
        return spent + item.seconds * share <= self.limits.seconds

    def _contenders(self) -> list[Contender]:
        tried = [item for item in self.found.candidates if self.found.last(item.name, self.spec.train.seed)]
        return [self._contender(item) for item in tried]

    def _contender(self, item: StrategyCandidate) -> Contender:
        mine = [trial for trial in self.found.trials if trial.candidate == item.name]
        seeds = sorted({trial.seed for trial in mine})
        lasts = [self.found.last(item.name, seed) for seed in seeds]
        whole = 0 if item.name == FEATURES else self.found.epochs
        ends = [trial for trial in lasts if trial is not None and trial.epochs == whole]
        shown = ends or [trial for trial in lasts if trial is not None]
        return Contender(
            name=item.name,
            outcomes={trial.seed: read_outcomes(self.folder, trial) for trial in shown},
            flops=item.flops,
            cpu_seconds=sum(trial.cpu_seconds for trial in mine) / len(seeds),
            seconds=sum(trial.seconds for trial in mine) / len(seeds),
            epochs=max(trial.epochs for trial in shown),
            peak_bytes=item.peak_bytes,
            trained=shown[0].trained,
            finished=bool(ends),
            same_for_all_seeds=item.name == FEATURES,
        )

    def _save(self) -> None:
        record = json.dumps(self.found.to_record(), indent=2, ensure_ascii=False)
        write_text(self.folder / FILE, record + "\n")


def _note(found: StrategyComparison, folder: Path, name: str, seed: int, epochs: int, done: Advanced) -> None:
    """Note a trial, and write down what its validation rows counted for."""
    run = run_name(name, seed)
    scores = {task: outcome.score for task, outcome in done.outcomes.items()}
    _save_outcomes(folder, run, epochs, done.outcomes)
    found.trials.append(
        CandidateTrial(name, seed, epochs, run, scores, done.cpu_seconds, done.seconds, done.trained)
    )


def _budget(limits: Limits) -> dict[str, float | None]:
    return {"seconds": limits.seconds, "bytes": limits.bytes}


def _done(found: StrategyComparison, item: StrategyCandidate, seed: int) -> str:
    last = found.last(item.name, seed)
    epochs = last.epochs if last else 0
    return f"{epochs} of {found.epochs} epochs"


def _identity(spec: Spec, names: Sequence[str]) -> str:
    """Return a hash of what makes two comparisons the same: the spec, its files as they are, and what is compared."""
    parts = [
        (part.name, str(part.signature))
        for index, _ in enumerate(spec.task)
        for split in SPLITS[:2]
        for part in parts_of(spec, index, split)
    ]
    told = json.dumps([spec_text(spec), parts, sorted(names)])
    return hashlib.sha256(told.encode()).hexdigest()


def read_comparison(folder: Path, identity: str | None = None) -> StrategyComparison | None:
    """Return the comparison in a folder, None where there is none.

    Raises ``DiagnosticError`` (FP593) for one that cannot be read, or is of another ``identity``.
    """
    try:
        found = comparison_from_record(json.loads((folder / FILE).read_text("utf-8")))
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None
    except (ValueError, OSError) as error:
        message = f"the comparison in `{folder}` cannot be read: {error}"
        raise DiagnosticError([diagnostic("FP593", message, help="name another folder")]) from None
    if identity is not None and found.identity != identity:
        message = f"`{folder}` holds the comparison of another spec, other data or other strategies"
        advice = "put them back as they were, or name another folder with `--out`"
        raise DiagnosticError([diagnostic("FP593", message, help=advice)])
    return found


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, "utf-8", newline="\n")
    os.replace(partial, path)


def _outcome_file(folder: Path, run: str, epochs: int) -> Path:
    return folder / OUTCOMES / f"{Path(run).name}-{epochs}.npz"


def _save_outcomes(folder: Path, run: str, epochs: int, outcomes: Outcomes) -> None:
    path = _outcome_file(folder, run, epochs)
    path.parent.mkdir(parents=True, exist_ok=True)
    numpy.savez(path, **{f"{outcome.how}/{task}": outcome.rows for task, outcome in outcomes.items()})


def read_outcomes(folder: Path, trial: CandidateTrial) -> dict[str, Outcome]:
    """Return what each validation row counted for in a trial; raises ``DiagnosticError`` (FP593)."""
    try:
        with numpy.load(_outcome_file(folder, trial.run, trial.epochs), allow_pickle=False) as arrays:
            return {
                name.partition("/")[2]: Outcome(arrays[name], name.partition("/")[0]) for name in arrays.files
            }
    except (OSError, ValueError) as error:
        message = f"the comparison in `{folder}` cannot be read: {error}"
        raise DiagnosticError([diagnostic("FP593", message, help="name another folder")]) from None
