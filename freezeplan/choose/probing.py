"""``freezeplan probe``: one pass over the data, and a linear probe of every depth for each task."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy

from freezeplan.choose.baselines import TRAIN, VALIDATION, baselines
from freezeplan.choose.depth_rule import best_of, first_enough
from freezeplan.choose.depths import INPUT
from freezeplan.choose.features import Features, extracted
from freezeplan.choose.kinds import PROBED, Fitted, ProbedKind, Sample, fitted
from freezeplan.choose.outcomes import Outcome
from freezeplan.choose.probe_records import Baseline, Depth, LeftOut, ProbeCost, ProbeReport, TaskProbe
from freezeplan.data.split import TaskData
from freezeplan.data.task_rows import load_task_data
from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import quoted
from freezeplan.plan.records import Plan
from freezeplan.runs.events import Observer, Working, ignore_events
from freezeplan.spec.tables import Spec
from freezeplan.train.failures import explained
from freezeplan.train.forward import EncodedSplit
from freezeplan.train.setup import Setup, prepare

WHOLE = "the backbone's output"


def probe(spec: Spec, observer: Observer = ignore_events, plan: Plan | None = None) -> ProbeReport:
    """Say how much of each task the features at each depth of the spec's backbone hold.

    The backbone runs once over the distinct training and validation inputs, in eval mode, with the weights of its
    source. At each depth a linear map is fitted to the training rows and scored on the validation rows; its strength is
    chosen on a fifth of the training rows. Tasks without a linear probe, or without data for one, are left out, and
    the report says why. ``plan`` is a plan that was shown: the loaded model must give the same one.

    Raises ``DiagnosticError``: FP590 without scikit-learn, FP591 where no task is left, FP592 where the layers cannot
    be watched, and whatever makes a training of the spec impossible. Source of the idea: Alain and Bengio,
    Understanding intermediate layers using linear classifier probes, 2016, https://arxiv.org/abs/1610.01644.
    """
    return probed(spec, observer, plan).report


@dataclass(frozen=True)
class Probed:
    """Hold a probe's report, the fits of the backbone's output by task, and the model that was loaded."""

    report: ProbeReport
    fits: Mapping[str, Fitted]
    setup: Setup


def probed(spec: Spec, observer: Observer = ignore_events, plan: Plan | None = None) -> Probed:
    """Probe as :func:`probe` does, and keep what was fitted and loaded."""
    check_installed()
    spec = without_test(spec)
    observer(Working("reading the data"))
    tasks, _ = load_task_data(spec)
    chosen, left_out = probed_tasks(tasks)
    if not chosen:
        raise DiagnosticError([_nothing(left_out)])
    beside = {}
    for task in chosen:
        observer(Working(f"counting the words of task {task.name}"))
        beside[task.name] = baselines(task, spec.train.seed)
    with explained():
        setup = prepare(spec, plan, observer=observer)
    return _probed(setup, chosen, left_out, beside, observer)


def check_installed() -> None:
    """Raise ``DiagnosticError`` (FP590) without scikit-learn."""
    if find_spec("sklearn") is None:
        advice = 'pip install "freezeplan[choose]"'
        raise DiagnosticError([diagnostic("FP590", "probing needs scikit-learn", help=advice)])


def without_test(spec: Spec) -> Spec:
    """Return a spec that does not name test data: what is chosen must not have seen them."""
    tasks = [
        task.model_copy(update={"data": task.data and task.data.model_copy(update={"test": None})})
        for task in spec.task
    ]
    return spec.model_copy(update={"task": tasks})


def probed_tasks(
    tasks: Sequence[TaskData], kinds: Collection[str] = PROBED
) -> tuple[list[TaskData], tuple[LeftOut, ...]]:
    """Return the tasks of some kinds that have data to probe or compare them by, and why the others are left out."""
    reasons = {task.name: _reason(task, kinds) for task in tasks}
    left_out = tuple(LeftOut(name, reason) for name, reason in reasons.items() if reason)
    return [task for task in tasks if not reasons[task.name]], left_out


def _nothing(left_out: Sequence[LeftOut]) -> Diagnostic:
    advice = f"a task needs training and validation data, and one of the kinds {quoted(PROBED)}"
    return diagnostic("FP591", "there is no task to probe", help=advice, notes=_reasons(left_out))


def _reason(task: TaskData, kinds: Collection[str]) -> str | None:
    if task.kind.name not in kinds:
        return f"tasks of the kind {task.kind.name} have no linear probe"
    if task.streamed is not None:
        return "its training rows are streamed"
    wanted = [VALIDATION] if task.kind.compares else [TRAIN, VALIDATION]
    missing = [split for split in wanted if split not in task.splits]
    return f"it has no {' and no '.join(missing)} data" if missing else None


def _reasons(left_out: Sequence[LeftOut]) -> list[str]:
    return [f"task `{item.task}`: {item.reason}" for item in left_out]


def _probed(
    setup: Setup,
    tasks: Sequence[TaskData],
    left_out: tuple[LeftOut, ...],
    beside: Mapping[str, tuple[Baseline, ...]],
    observer: Observer,
) -> Probed:
    begun = time.process_time()
    features = [_extracted(setup, names, observer) for names in _by_form(tasks)]
    between = time.process_time()
    found, fits = [], {}
    for held, names in zip(features, _by_form(tasks), strict=True):
        for task in names:
            observer(Working(f"fitting task {task.name}"))
            splits = {split: setup.data[split].get(task.name) for split in (TRAIN, VALIDATION)}
            probing = _TaskProbing(task, splits, held, setup.spec.train.seed)
            found.append(probing.report(beside[task.name]))
            if probing.last is not None:
                fits[task.name] = probing.last
    order = [task.name for task in tasks]
    cost = ProbeCost(
        extraction_cpu_seconds=between - begun,
        fitting_cpu_seconds=time.process_time() - between,
        inputs=sum(len(numpy.unique(numpy.concatenate(list(held.entries.values())))) for held in features),
        bytes=sum(held.nbytes for held in features),
    )
    found.sort(key=lambda item: order.index(item.task))
    report = ProbeReport(setup.plan.model, features[0].layers, tuple(found), left_out, cost)
    return Probed(report, fits, setup)


def _by_form(tasks: Sequence[TaskData]) -> list[list[TaskData]]:
    """Return the tasks over rows, and those over words, as far as there are any."""
    forms = [[task for task in tasks if task.kind.reads_words is words] for words in (False, True)]
    return [form for form in forms if form]


def _extracted(setup: Setup, tasks: Sequence[TaskData], observer: Observer) -> Features:
    splits = [
        setup.data[split][task.name]
        for split in (TRAIN, VALIDATION)
        for task in tasks
        if task.name in setup.data[split] and not (split == TRAIN and task.kind.compares)
    ]
    what = f"running the backbone over all {setup.encoder.kind.plural}"
    return extracted(
        setup, splits, tasks[0].kind.reads_words, lambda done, of: observer(Working(what, done, of))
    )


class _TaskProbing:
    """Fit and score one task at every depth; ``last`` is the fit of the last one."""

    def __init__(
        self, task: TaskData, splits: Mapping[str, EncodedSplit | None], features: Features, seed: int
    ) -> None:
        self.task, self.splits, self.features, self.seed = task, splits, features, seed
        self.kind: ProbedKind = PROBED[task.kind.name](task.labels)
        self.last: Fitted | None = None

    def report(self, beside: tuple[Baseline, ...]) -> TaskProbe:
        """Return what was found."""
        found = [self._at(depth) for depth in range(len(self.features.depths))]
        outcomes = [outcome for outcome, _ in found]
        best, self.last = best_of(outcomes), found[-1][1]
        depths = [self._depth(depth, outcomes, best, fit) for depth, (_, fit) in enumerate(found)]
        return TaskProbe(
            task=self.task.name,
            kind=self.task.kind.name,
            metric=self.task.kind.metric_names[0],
            error=self.kind.error,
            rows={name: len(split) for name, split in self.splits.items() if split is not None},
            depths=tuple(depths),
            baselines=beside,
            best=best,
            enough=first_enough(outcomes),
        )

    def _at(self, depth: int) -> tuple[Outcome, Fitted | None]:
        if self.task.kind.compares:
            sample = self._sample(VALIDATION, depth)
            return self.kind.outcome(sample.features, sample), None
        fit = fitted(self.kind, self._sample(TRAIN, depth), self.kind.strengths, self.seed)
        sample = self._sample(VALIDATION, depth)
        return self.kind.outcome(fit.map(sample.features), sample), fit

    def _sample(self, name: str, depth: int) -> Sample:
        split = self.splits[name]
        assert split is not None
        features = self.features.depths[depth][self.features.places(split.name)]
        if self.task.kind.compares:
            features = self.kind.compared(features, self.task.kind.texts)
        targets = self.kind.targets(split.targets)
        ends = self.features.ends(split.name)
        return Sample(features, targets, numpy.arange(1, len(targets) + 1) if ends is None else ends)

    def _depth(self, depth: int, outcomes: Sequence[Outcome], best: int, fit: Fitted | None) -> Depth:
        here = outcomes[depth]
        gain: Any = here.beyond(outcomes[depth - 1]) if depth else (None, None)
        short, short_error = outcomes[best].beyond(here)
        return Depth(
            depth=depth,
            name=self._name(depth),
            width=self.features.depths[depth].shape[1],
            score=here.score,
            error=here.error,
            gain=gain[0],
            gain_error=gain[1],
            short=short,
            short_error=short_error,
            strength=fit.strength if fit else None,
        )

    def _name(self, depth: int) -> str:
        if depth == 0:
            return INPUT
        return WHOLE if depth == len(self.features.layers) else self.features.layers[depth - 1]
