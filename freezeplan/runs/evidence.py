"""What the hashes before and after training prove: frozen stayed, trainable moved, and if not, why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from freezeplan.apply.fingerprints import Fingerprints
from freezeplan.apply.tensors import parameters_by_name, whole
from freezeplan.diagnostics import Diagnostic, diagnostic
from freezeplan.diagnostics.wording import counted, first_few
from freezeplan.plan.records import Plan
from freezeplan.runs.gradients import GradientWatch
from freezeplan.spec.locations import KeyPath, at_key

FORMAT_VERSION = "1.1"
SHOWN = 10
NEVER_TRAINED = "was never trained"
UNUSED = "no gradient: unused in this forward"
NO_SLOPE = "the gradient was zero"
NO_RATE = "the learning rate was 0 in every step"
TOO_SMALL = "the update is below the resolution"
CANCELLED = "its steps cancelled out"
ADVICE = {
    NEVER_TRAINED: "give the task training rows, or freeze its head",
    UNUSED: "freeze it: no loss of the spec's tasks depends on it",
    NO_SLOPE: "freeze it, or look for what keeps the loss from depending on it: an activation that is always 0, say",
    NO_RATE: "train for more steps than the warm-up takes, or freeze it",
    TOO_SMALL: "raise its rate, or freeze it",
    CANCELLED: "train for longer, or freeze it",
}
Place = Callable[[str, bool], KeyPath | None]


def nowhere(name: str, frozen: bool) -> None:
    """Say that no key of a spec is known for a tensor."""


@dataclass(frozen=True)
class Tensor:
    """Hold the hashes of one parameter or buffer before and after, and whether it had to stay as it was."""

    name: str
    kind: str
    frozen: bool
    before: str
    after: str

    @property
    def moved(self) -> bool:
        """Whether any bit differs."""
        return self.before != self.after


@dataclass(frozen=True)
class Evidence:
    """Compare a model before and after training, or a part of it, tensor by tensor.

    ``tensors`` holds parameters and then buffers, in registration order. ``causes`` says, for each trainable
    parameter that did not move, why. ``rates`` is the highest rate each group really had. ``phases`` holds the
    records of the phases so far (see :class:`freezeplan.runs.phase_evidence.PhaseEvidence`) where the whole
    run is compared, and ``of`` how many the plan has. ``processes`` held the same bits when the hashes were taken.
    """

    epoch: int
    tensors: tuple[Tensor, ...]
    causes: dict[str, str]
    rates: dict[str, float]
    phases: tuple[Mapping[str, Any], ...] = ()
    of: int = 1
    processes: int = 1

    @property
    def violations(self) -> tuple[str, ...]:
        """Names of frozen parameters and of buffers in frozen modules that moved, in any phase."""
        own = [item.name for item in self.tensors if item.frozen and item.moved]
        return tuple(dict.fromkeys([*own, *(name for phase in self.phases for name in phase["violations"])]))

    @property
    def holds(self) -> bool:
        """Whether everything frozen is bit-identical."""
        return not self.violations

    @property
    def statement(self) -> str:
        """Say in one sentence what was proved."""
        frozen, trainable = self._of("parameter", True), self._of("parameter", False)
        several = self.of > 1
        kept = _kept(frozen, "tensor", " frozen throughout") if several else _kept(frozen, "frozen tensor")
        parts = [kept] if frozen else []
        if trainable:
            moved = sum(item.moved for item in trainable)
            what = "tensors that any phase trains" if several else "trainable tensors"
            parts.append(f"{moved} of {len(trainable)} {what} moved")
        fixed = self._of("buffer", True)
        if fixed:
            parts.append(_kept(fixed, "buffer", " of frozen modules"))
        ends = [_of_phases(self.phases, self.of)] if several else []
        ends += [f"the same bits in {self.processes} processes"] if self.processes > 1 else []
        return "; ".join([", ".join(parts), *ends])

    def as_record(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "format_version": FORMAT_VERSION,
            "statement": self.statement,
            "holds": self.holds,
            "epoch": self.epoch,
            "violations": list(self.violations),
            "unmoved": self.causes,
            "highest_rates": self.rates,
            "phases": [dict(phase) for phase in self.phases],
            "of_phases": self.of,
            "processes": self.processes,
            "tensors": tensor_records(self.tensors),
        }

    def diagnostics(self, place: Place = nowhere) -> tuple[Diagnostic, ...]:
        """Return FP510 (error) for frozen tensors that moved, FP511 (warning) per cause of not moving.

        ``place`` says of a tensor's name, and whether it was frozen, which key of the spec had it so, or None; each
        diagnostic points at that of its first tensor.
        """
        found = [_violation(self.violations, self._where(), place)] if self.violations else []
        by_cause: dict[str, list[str]] = {}
        for name, cause in self.causes.items():
            by_cause.setdefault(cause, []).append(name)
        return (*found, *(_unmoved(names, cause, place) for cause, names in by_cause.items()))

    def _where(self) -> str:
        broken = next((phase["phase"] for phase in self.phases if phase["violations"]), None)
        return "training" if self.of == 1 or broken is None else f"phase `{broken}`"

    def _of(self, kind: str, frozen: bool) -> list[Tensor]:
        return [item for item in self.tensors if item.kind == kind and item.frozen is frozen]


def tensor_records(tensors: Iterable[Tensor]) -> list[dict[str, Any]]:
    """Return the JSON form of compared tensors."""
    return [asdict(item) | {"moved": item.moved} for item in tensors]


def evidence_of(record: Mapping[str, Any]) -> Evidence:
    """Return the evidence that :meth:`Evidence.as_record` wrote; raises ``KeyError`` where a part is absent."""
    tensors = [
        Tensor(item["name"], item["kind"], item["frozen"], item["before"], item["after"])
        for item in record["tensors"]
    ]
    causes, rates = dict(record["unmoved"]), dict(record["highest_rates"])
    phases = tuple(record.get("phases", ()))
    counts = record.get("of_phases", 1), record.get("processes", 1)
    return Evidence(record["epoch"], tuple(tensors), causes, rates, phases, *counts)


def compare(
    model: torch.nn.Module,
    plan: Plan,
    before: Fingerprints,
    after: Fingerprints,
    watch: GradientWatch,
    epoch: int,
    phase: int | None = None,
) -> Evidence:
    """Compare two sets of hashes of a model under one phase of its plan; without one, under all of them.

    Under all phases, frozen is what no phase trains. A buffer counts as frozen when the plan keeps the module
    that owns it in eval mode. ``watch`` supplies the causes of trainable tensors that did not move. Nothing is
    changed.
    """
    phases = plan.phases if phase is None else plan.phases[phase : phase + 1]
    trained = set(plan.ever_trained if phase is None else plan.names(phase, trainable=True))
    fixed = set.intersection(*(set(item.eval_modules) for item in phases))
    tensors = [
        Tensor(name, "parameter", name not in trained, old, after.parameters[name])
        for name, old in before.parameters.items()
    ]
    tensors += [
        Tensor(name, "buffer", name.rpartition(".")[0] in fixed, old, after.buffers[name])
        for name, old in before.buffers.items()
    ]
    watched = set(watch.names)
    still = [t.name for t in tensors if t.kind == "parameter" and not t.moved and t.name in watched]
    causes = _causes(still, model, plan, watch)
    return Evidence(epoch, tuple(tensors), causes, dict(watch.rates), of=len(phases))


def _causes(names: Iterable[str], model: torch.nn.Module, plan: Plan, watch: GradientWatch) -> dict[str, str]:
    parameters = parameters_by_name(model)
    rates = {member: watch.rates.get(group.name, 0.0) for group in plan.groups for member in group.members}
    return {name: _cause(name, whole(parameters[name]), rates.get(name, 0.0), watch) for name in names}


def _cause(name: str, tensor: torch.Tensor, rate: float, watch: GradientWatch) -> str:
    task = name.split(".")[1] if name.startswith("heads.") else None
    if task is not None and task not in watch.tasks:
        return f"task `{task}` {NEVER_TRAINED}"
    gradient = watch.largest.get(name)
    if gradient is None:
        return UNUSED
    if gradient == 0.0:
        return NO_SLOPE
    if rate == 0.0:
        return NO_RATE
    spacing = torch.finfo(tensor.dtype).eps * float(tensor.abs().max())
    if rate * min(gradient, 1.0) < spacing or rate < spacing:
        dtype = str(tensor.dtype).removeprefix("torch.")
        return f"{TOO_SMALL} of {dtype}: rate {rate:.1e}, spacing {spacing:.1e}"
    return CANCELLED


def _kept(items: list[Tensor], noun: str, tail: str = "") -> str:
    moved = sum(item.moved for item in items)
    what = f"{counted(len(items), noun)}{tail}"
    return f"{moved} of {what} MOVED" if moved else f"{what} bit-identical (sha256)"


def _of_phases(phases: Iterable[Mapping[str, Any]], count: int) -> str:
    """Say what the phases proved, those that were run."""
    run = list(phases)
    broken = [f"`{phase['phase']}`" for phase in run if phase["violations"]]
    if broken:
        return f"frozen tensors MOVED in phase {', '.join(broken)}"
    which = f"each of {count} phases" if len(run) == count else f"{len(run)} of {count} phases"
    return f"in {which}, all that it froze is bit-identical (sha256)"


def _violation(names: tuple[str, ...], where: str, place: Place) -> Diagnostic:
    message = f"{counted(len(names), 'frozen tensor')} moved during {where}: `{names[0]}`"
    advice = "something outside the plan wrote to it: the model's own forward, a hook, another optimizer"
    return _placed(place(names[0], True), "FP510", message, advice, _listed(names[1:]))


def _unmoved(names: list[str], cause: str, place: Place) -> Diagnostic:
    count = f"{len(names)} trainable tensors" if len(names) > 1 else f"trainable tensor `{names[0]}`"
    advice = next((text for part, text in ADVICE.items() if part in cause), None)
    notes = _listed(names) if len(names) > 1 else []
    return _placed(place(names[0], False), "FP511", f"{count} did not move: {cause}", advice, notes)


def _placed(
    path: KeyPath | None, code: str, message: str, advice: str | None, notes: list[str]
) -> Diagnostic:
    if path is None:
        return diagnostic(code, message, help=advice, notes=notes)
    return at_key(path, code, message, help=advice, notes=notes)


def _listed(names: Iterable[str]) -> list[str]:
    return first_few([f"`{name}`" for name in names], SHOWN)
