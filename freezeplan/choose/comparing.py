"""``freezeplan compare``: ways of freezing, run under one budget, the losers stopped early."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from freezeplan.choose.comparison_files import (
    FILE,
    OUTCOMES,
    identity_of,
    read_comparison,
    read_outcomes,
    save_outcomes,
    write_text,
)
from freezeplan.choose.comparison_records import (
    CandidateTrial,
    StrategyCandidate,
    StrategyComparison,
)
from freezeplan.choose.judging import Contender, best_of, close_to_best, difference, judged
from freezeplan.choose.ladder import next_trials, reason_untried
from freezeplan.choose.predicting import predicted_memory
from freezeplan.choose.preparing import ComparedStrategies, ComparisonStart, prepared
from freezeplan.choose.strategies import FEATURES
from freezeplan.choose.trials import Advanced, advance, run_name
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.runs.events import Event, Observer, Working, ignore_events
from freezeplan.spec.amounts import parse_bytes
from freezeplan.spec.tables import Spec
from freezeplan.train.sharing import shared_work

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


def trial_epochs_of(epochs: int) -> int:
    """Return how many epochs a trial has: a quarter of those of a whole run.

    >>> trial_epochs_of(3), trial_epochs_of(8)
    (1, 2)
    """
    return -(-epochs // 4)


def compare(
    spec: Spec,
    folder: Path,
    names: Sequence[str] = (),
    limits: Limits | None = None,
    observer: Observer = ignore_events,
    announce: Callable[[StrategyComparison], None] | None = None,
    *,
    thorough: bool = False,
) -> StrategyComparison:
    """Train ways of freezing a spec's model for a while, and say which to choose.

    Candidates are the strategies of the model, or those of them that are named. A linear probe comes first; strategies
    whose heads may begin with it do. A trial is a run of a quarter of the spec's epochs, with a schedule of its own. It
    begins in the middle and at the upper end of the ladder of strategies and goes on beside the best
    (:func:`freezeplan.choose.ladder.next_trials`). With ``thorough`` all train: after a quarter and after half of the
    spec's epochs the better half goes on (successive halving: Jamieson and Talwalkar, Non-stochastic Best Arm
    Identification and Hyperparameter Optimization, 2016, https://arxiv.org/abs/1502.07943), each from where it stopped.
    Where several finish close to the best, they run again with further seeds, as ``limits`` allow.

    All lies in ``folder``: a comparison that was stopped goes on from there. ``announce`` is called before the first
    trial, with what each candidate is predicted to cost. Raises ``DiagnosticError``: FP590 to FP592
    as a probe does, FP593 for a folder that holds something else, FP594 for a task that cannot be compared.
    """
    limits = limits or Limits()
    trial = None if thorough else trial_epochs_of(spec.train.epochs)
    asked = ComparedStrategies(tuple(names), trial)
    identity = identity_of([spec], [*sorted(names), *(["thorough"] if thorough else [])])

    def begin() -> ComparisonStart:
        return prepared(spec, folder, asked, observer)

    with shared_work(parse_bytes(spec.train.store_budget)):
        return ComparisonCourse(spec, folder, identity, begin, trial, limits, observer).run(announce)


class ComparisonCourse:
    """Run what is left of a comparison; ``begin`` makes what it begins with, ``trial`` is the epochs of a trial."""

    def __init__(
        self,
        spec: Spec,
        folder: Path,
        identity: str,
        begin: Callable[[], ComparisonStart],
        trial: int | None,
        limits: Limits,
        observer: Observer,
    ) -> None:
        self.spec, self.folder, self.identity, self.begin = spec, folder, identity, begin
        self.trial, self.limits, self.observer = trial, limits, observer

    def run(self, announce: Callable[[StrategyComparison], None] | None) -> StrategyComparison:
        """Return the comparison with its verdict."""
        found = read_comparison(self.folder, self.identity)
        if found is None:
            self._check_free()
            made = self.begin()
            found = self._begun(self.identity, made)
            self._note_features(found, made)
        found.seeds, found.budget = self.limits.seeds, _budget(self.limits)
        self.found = found
        self._leave_out_large()
        self._save()
        if announce is not None and found.verdict is None:
            announce(found)
        if found.thorough:
            self._halve()
        else:
            self._climb()
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
            rungs=rungs_of(made.epochs) if self.trial is None else [self.trial],
            thorough=self.trial is None,
            budget={},
            seeds=1,
            candidates=list(made.candidates),
            length=made.length,
        )

    def _note_features(self, found: StrategyComparison, made: ComparisonStart) -> None:
        """Note the run of the linear probes as a trial: it is done before the comparison begins."""
        if made.features is not None and any(item.name == FEATURES for item in found.candidates):
            _note(found, self.folder, FEATURES, self.spec.train.seed, 0, made.features)

    def _leave_out_large(self) -> None:
        for item in self.found.candidates:
            # The budget may be another one than before the stop.
            item.left_out = item.left_out if item.failed or item.untried else None
            if self.limits.bytes is None or item.left_out or item.name == FEATURES:
                continue
            item.peak_bytes = item.peak_bytes or predicted_memory(self.folder / item.spec, self.found.length)
            if item.peak_bytes > self.limits.bytes:
                item.left_out = "its training steps need more memory than the budget"

    def _halve(self) -> None:
        seed = self.spec.train.seed
        alive = [item for item in self.found.candidates if item.name != FEATURES and not item.left_out]
        for epochs in self.found.rungs:
            alive = [item for item in alive if self._advance(item, seed, epochs)]
            if epochs == self.found.last_rung:
                return
            alive.sort(key=lambda item: (-self._score(item), item.flops))
            alive = alive[: max(1, -(-len(alive) // 2))]

    def _climb(self) -> None:
        """Try what the scores so far make worth trying, and say of the rest why it is not."""
        items = {item.name: item for item in self.found.candidates}
        while True:
            names = [name for name, item in items.items() if not item.left_out]
            known = {item.name: item for item in self._contenders()}
            scores = {name: item.score for name, item in known.items()}
            wanted = next_trials(names, scores, clear=self._is_clear(known))
            if not wanted:
                break
            # One at a time: what comes next follows from the trials that are done, also after a stop.
            self._advance(items[wanted[0]], self.spec.train.seed, self._last)
        for name, item in items.items():
            if not item.left_out and name not in scores:
                item.left_out, item.untried = reason_untried(name, list(items)), True

    @staticmethod
    def _is_clear(known: Mapping[str, Contender]) -> bool:
        """Whether the best beats the linear probes by more than a standard error."""
        if FEATURES not in known:
            return True
        short, error = difference(best_of(list(known.values())), known[FEATURES])
        return short > error

    @property
    def _last(self) -> int:
        return self.found.last_rung

    def _score(self, item: StrategyCandidate) -> float:
        return self._contender(item).score

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
                    self._advance(item, seed, self._last)

    def _advance(self, item: StrategyCandidate, seed: int, epochs: int) -> bool:
        """Bring a candidate to so many epochs, unless it is there already; returns False where that cannot be."""
        epochs = min(epochs, item.epochs or epochs)
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
        path = self.folder / item.trial
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
        return spent + self._whole_seconds(item) * share <= self.limits.seconds

    def _whole_seconds(self, item: StrategyCandidate) -> float:
        """Return what a whole run takes, as predicted, or, without a probe, at the speed of the trials so far."""
        if item.seconds:
            return item.seconds
        works = {other.name: other.flops for other in self.found.candidates}
        done = sum(works[trial.candidate] * trial.epochs for trial in self.found.trials) / self.found.epochs
        spent = sum(trial.seconds for trial in self.found.trials)
        return item.flops * spent / done if done else 0.0

    def _contenders(self) -> list[Contender]:
        tried = [item for item in self.found.candidates if self.found.last(item.name, self.spec.train.seed)]
        return [self._contender(item) for item in tried]

    def _contender(self, item: StrategyCandidate) -> Contender:
        mine = [trial for trial in self.found.trials if trial.candidate == item.name]
        seeds = sorted({trial.seed for trial in mine})
        lasts = [self.found.last(item.name, seed) for seed in seeds]
        whole = 0 if item.name == FEATURES else item.epochs or self._last
        ends = [trial for trial in lasts if trial is not None and trial.epochs == whole]
        shown = ends or [trial for trial in lasts if trial is not None]
        return Contender(
            name=item.name,
            outcomes={trial.seed: read_outcomes(self.folder, trial) for trial in shown},
            flops=item.flops,
            cpu_seconds=sum(trial.cpu_seconds for trial in mine) / len(seeds),
            seconds=sum(trial.seconds for trial in mine) / len(seeds),
            epochs=max(trial.epochs for trial in shown),
            peak_bytes=max(trial.peak_bytes for trial in mine),
            trained=shown[0].trained,
            finished=bool(ends),
            same_for_all_seeds=item.name == FEATURES,
            weights=self.found.weights,
        )

    def _save(self) -> None:
        record = json.dumps(self.found.to_record(), indent=2, ensure_ascii=False)
        write_text(self.folder / FILE, record + "\n")


def _note(found: StrategyComparison, folder: Path, name: str, seed: int, epochs: int, done: Advanced) -> None:
    """Note a trial, and write down what its validation rows counted for."""
    run = run_name(name, seed)
    scores = {task: outcome.score for task, outcome in done.outcomes.items()}
    save_outcomes(folder, run, epochs, done.outcomes)
    found.trials.append(
        CandidateTrial(
            name, seed, epochs, run, scores, done.cpu_seconds, done.seconds, done.trained, done.peak_bytes
        )
    )


def _budget(limits: Limits) -> dict[str, float | None]:
    return {"seconds": limits.seconds, "bytes": limits.bytes}


def _done(found: StrategyComparison, item: StrategyCandidate, seed: int) -> str:
    last = found.last(item.name, seed)
    epochs = last.epochs if last else 0
    return f"{epochs} of {found.epochs} epochs"
