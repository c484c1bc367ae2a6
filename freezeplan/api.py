"""The public library calls, composed from the rooms below."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.records import Inventory
from freezeplan.plan.records import VIEWS, Plan
from freezeplan.spec.tables import Spec

if TYPE_CHECKING:
    import torch

    from freezeplan.train.loaded import LoadedRun

__all__ = [
    "DiagnosticError",
    "SpecLike",
    "apply_freeze",
    "build_optimizer",
    "build_param_groups",
    "compile_plan",
    "enter_phase",
    "load_plan",
    "load_run",
    "load_spec",
    "release",
    "render_report",
    "resume_from_checkpoint",
    "verify",
]


def _text(plan: Plan) -> str:
    from freezeplan.render.notebook import plan_text

    return plan_text(plan)


def _html(plan: Plan) -> str:
    from freezeplan.render.notebook import plan_html

    return plan_html(plan)


VIEWS.update(text=_text, html=_html)

SpecLike = str | Path | Mapping[str, Any] | Spec


def load_spec(source: SpecLike) -> Spec:
    """Read and check a spec.

    ``source`` is the path of a TOML file, a dict of the same form, or a spec (returned as it is).
    Raises :class:`freezeplan.DiagnosticError` with all problems, in file order.

    >>> load_spec({"rule": [{"match": "**", "state": "frozen"}]}).rule[0].state
    'frozen'
    """
    from freezeplan.spec.reading import load_spec as read

    return read(source)


def load_plan(path: str | Path) -> Plan:
    """Read a plan back from the JSON that ``freezeplan show --out`` or a run wrote; it is equal to the one written.

    What takes a plan checks it against the live model, tensor by tensor: names, shapes, ties. Raises
    :class:`freezeplan.DiagnosticError`: FP584 for a file that is no whole plan, or that contradicts itself, FP585
    for another version of the format.

    >>> import tempfile, torch
    >>> from freezeplan.plan.document import to_json
    >>> plan = compile_plan(torch.nn.Linear(3, 1), {"rule": [{"match": "**", "state": "trainable"}]})
    >>> path = Path(tempfile.mkdtemp(), "plan.json")
    >>> _ = path.write_text(to_json(plan), "utf-8")
    >>> load_plan(path) == plan
    True
    """
    from freezeplan.outside.given_path import NoPath, given_path
    from freezeplan.outside.regular import read_regular
    from freezeplan.plan.reading import plan_from_json, unreadable_plan

    try:
        text = read_regular(given_path(path)).decode("utf-8")
    except FileNotFoundError:
        raise unreadable_plan(str(path), "there is no such file") from None
    except (OSError, UnicodeDecodeError, NoPath) as error:
        raise unreadable_plan(str(path), str(error)) from None
    return plan_from_json(text, str(path))


def load_run(folder: str | Path, checkpoint: str | None = None) -> LoadedRun:
    """Load a finished run from its folder, to label and embed texts with it.

    ``checkpoint`` names one of the run's, or is ``"best"``. Every file that the model is made from is checked
    against its hash. What is returned has ``predict(texts, tasks=None, probabilities=False)``, a list of one dict
    per text; ``embed(texts)``, an array ``(texts, hidden)``; ``labels`` by task; and ``model``, a torch module in
    eval mode. Raises :class:`freezeplan.DiagnosticError`: FP520 for a folder that is no run's, FP521 for one whose
    files are not those that were written.

    >>> try:
    ...     load_run("no/such/run")
    ... except DiagnosticError as error:
    ...     print(error.diagnostics[0].message)
    `no/such/run` is not the folder of a run: there is no such folder
    """
    from freezeplan.train.loaded import loaded_run

    return loaded_run(folder, checkpoint)


def render_report(
    sources: str | Path | Sequence[str | Path], path: str | Path | None = None, *, cost: bool = False
) -> str:
    """Return one HTML page about runs, comparisons and probes, as ``freezeplan report`` writes it.

    ``sources`` is the folder of a run or of a comparison, the file of a probe, or several of them. ``path`` takes the
    page too, and whatever was there. ``cost`` predicts what each run costs. Raises
    :class:`freezeplan.DiagnosticError`: FP520 for what is no run, FP521 for one whose ``run.json`` cannot be read,
    FP597 for a file that neither ``probe`` nor ``compare`` wrote; and ``OSError`` where ``path`` cannot be written.

    >>> try:
    ...     render_report("no/such/run", "report.html")
    ... except DiagnosticError as error:
    ...     print(error.diagnostics[0].message)
    `no/such/run` is not the folder of a run: there is no such folder
    """
    from freezeplan import __version__
    from freezeplan.report.page import report_html
    from freezeplan.report.reading import read_report, report_paths
    from freezeplan.train.own_cost import own_cost

    found = read_report(report_paths(sources), own_cost if cost else None)
    page = report_html(found, __version__)
    if path is not None:
        Path(path).write_text(page, "utf-8")
    return page


def compile_plan(model_or_inventory: torch.nn.Module | Inventory, spec: SpecLike) -> Plan:
    """Compile a spec for a live model, or for an inventory.

    A live model is any ``torch.nn.Module``, on the meta device too; nothing is changed in it. Returns the plan,
    warnings included (``plan.diagnostics``); raises :class:`freezeplan.DiagnosticError` with everything that
    is wrong.

    >>> import torch
    >>> plan = compile_plan(torch.nn.Linear(3, 1), {"rule": [{"match": "weight", "state": "trainable"},
    ...                                                      {"match": "bias", "state": "frozen"}]})
    >>> plan.names(trainable=True), plan.names(trainable=False)
    (('weight',), ('bias',))
    """
    from freezeplan.plan.compiling import compile_plan as compile_inventory

    return compile_inventory(_inventory(model_or_inventory), load_spec(spec))


def _inventory(source: torch.nn.Module | Inventory) -> Inventory:
    if isinstance(source, Inventory):
        return source
    from freezeplan.inventory.from_module import inventory_of

    return inventory_of(source)


def apply_freeze(model: torch.nn.Module, plan: Plan, phase: int | str = 0) -> None:
    """Set a live model's gradients and modes to what one phase of the plan says.

    ``phase`` is its place (from 0) or its name. Frozen tensors get ``requires_grad = False`` and lose their
    gradient; modules that the plan lists run in eval mode, and stay in it when a loop calls ``model.train()``.
    Raises :class:`freezeplan.DiagnosticError`, before anything is changed, when the plan was not compiled for
    this model or a wrapper around it cannot follow; ``KeyError`` for a phase that the plan does not have.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    >>> rules = [{"match": "**", "state": "trainable"}, {"match": "0", "state": "frozen"}]
    >>> apply_freeze(model, compile_plan(model, {"rule": rules}))
    >>> [tensor.requires_grad for tensor in model.parameters()], model.train()[0].training
    ([False, False, True, True], False)
    """
    from freezeplan.apply.freezing import apply_freeze as apply_phase

    apply_phase(model, plan, phase)


def before_wrapping(model: torch.nn.Module, plan: Plan) -> None:
    """Let everything that any phase of the plan trains need a gradient, and nothing else.

    Call it before the model is wrapped in DistributedDataParallel (with ``find_unused_parameters=True``), which
    averages what is trainable when it is made; then enter the phases. Raises :class:`freezeplan.DiagnosticError`,
    before anything is changed, when the plan was not compiled for this model or it is too late.

    >>> import torch
    >>> model = torch.nn.Linear(2, 2)
    >>> rules = [{"match": "weight", "state": "trainable"}, {"match": "bias", "state": "frozen"}]
    >>> before_wrapping(model, compile_plan(model, {"rule": rules}))
    >>> model.weight.requires_grad, model.bias.requires_grad
    (True, False)
    """
    from freezeplan.apply.freezing import before_wrapping as before

    before(model, plan)


def release(model: torch.nn.Module) -> None:
    """Take a plan off a model: gradients, modes and hooks are as they were before the first plan; weights stay.

    Raises :class:`freezeplan.DiagnosticError`, before anything is changed, where DistributedDataParallel cannot
    follow. A model that no plan is on stays as it is.

    >>> import torch
    >>> model = torch.nn.Linear(2, 2)
    >>> apply_freeze(model, compile_plan(model, {"rule": [{"match": "**", "state": "frozen"}]}))
    >>> release(model)
    >>> model.weight.requires_grad, model.train().training
    (True, True)
    """
    from freezeplan.apply.releasing import release as take_off

    take_off(model)


def enter_phase(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
    plan: Plan,
    phase: int | str,
    *,
    factor: float | Literal["keep"] | None = None,
) -> None:
    """Put a model and its optimizer into one phase of the plan, between two optimizer steps.

    ``phase`` is its place (from 0) or its name, ``factor`` the schedule's at the phase's first step (by default 1.0;
    ``"keep"`` where one torch scheduler runs over several phases). The model
    gets the phase's gradients and modes as by :func:`apply_freeze`, each group of the optimizer the phase's
    rate times ``factor`` (0.0 while it is frozen), weight decay and options; state that the plan gives up is
    dropped, and so are all gradients. The groups stay the same. Raises :class:`freezeplan.DiagnosticError`,
    before anything is changed, when model or optimizer are not the plan's; ``KeyError`` for an unknown phase.
    :func:`freezeplan.apply.enter_phase` says more.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    >>> plan = compile_plan(model, {
    ...     "optimizer": {"lr": 0.01, "no_decay": []},
    ...     "rule": [{"name": "body", "match": "0", "state": "frozen"},
    ...              {"name": "head", "match": "1", "state": "trainable"}],
    ...     "phase": [{"name": "head only", "epochs": 1},
    ...               {"name": "all", "epochs": 1, "rule": [
    ...                   {"name": "thaw", "match": "0", "state": "trainable", "lr_mult": 0.5}]}]})
    >>> optimizer = torch.optim.AdamW(build_param_groups(model, plan))
    >>> enter_phase(model, optimizer, plan, "all")
    >>> {group["name"]: group["lr"] for group in optimizer.param_groups}
    {'thaw': 0.005, 'head': 0.01}
    """
    from freezeplan.apply.phases import enter_phase as enter

    enter(model, optimizer, plan, phase, factor=factor)


def resume_from_checkpoint(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
    plan: Plan,
    load: Callable[[], object],
    *,
    phase: int | str,
    next_phase: int | str | None = None,
    factor: float | Literal["keep"] | None = "keep",
) -> None:
    """Load a checkpoint of a loop of one's own, and have model and optimizer ready for the next step.

    ``load`` reads the checkpoint into both, in place, by whatever library saved it; ``phase`` is that of the last
    step before it was saved, ``next_phase`` that of the next step (default: the same), entered with ``factor``.
    Enters the one, loads, enters the other, and verifies: any other order loses optimizer state or fails. Raises
    :class:`freezeplan.DiagnosticError` for what :func:`enter_phase` and :func:`verify` refuse.
    :func:`freezeplan.apply.resuming.resume_from_checkpoint` says more.

    >>> import torch
    >>> model = torch.nn.Linear(2, 2)
    >>> plan = compile_plan(model, {"rule": [{"match": "**", "state": "trainable"}]})
    >>> optimizer = torch.optim.AdamW(build_param_groups(model, plan))
    >>> saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    >>> def load():
    ...     model.load_state_dict(saved["model"])
    ...     optimizer.load_state_dict(saved["optimizer"])
    >>> resume_from_checkpoint(model, optimizer, plan, load, phase=0)
    """
    from freezeplan.apply.resuming import resume_from_checkpoint as resume

    resume(model, optimizer, plan, load, phase=phase, next_phase=next_phase, factor=factor)


def verify(
    model: torch.nn.Module,
    plan: Plan,
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer] | None = None,
    phase: int | str = 0,
) -> None:
    """Raise unless a model, and the optimizer over it, are as one phase of the plan says.

    Call it right before the first step: what comes between the plan and the step (loading, wrapping) can undo
    the plan without a word. Under DistributedDataParallel every rank must call it: their weights are compared.
    Nothing is changed. Raises :class:`freezeplan.DiagnosticError` when the plan is for
    another model, the optimizer holds other tensors than the model, or gradients or modes differ from the
    plan; ``KeyError`` for a phase that the plan does not have.

    >>> import torch
    >>> model = torch.nn.Linear(2, 2)
    >>> plan = compile_plan(model, {"rule": [{"match": "**", "state": "trainable"}]})
    >>> optimizer = torch.optim.AdamW(build_param_groups(model, plan))
    >>> verify(model, plan, optimizer)
    >>> model.weight = torch.nn.Parameter(torch.zeros(2, 2))
    >>> try:
    ...     verify(model, plan, optimizer)
    ... except DiagnosticError as error:
    ...     print(error.diagnostics[0].message)
    the optimizer does not hold the model's tensors
    """
    from freezeplan.apply.verifying import verify as verify_phase

    verify_phase(model, plan, optimizer, phase)


def build_param_groups(
    model: torch.nn.Module,
    spec: SpecLike | Plan,
    *,
    freeze: bool = True,
    named: bool = True,
    scale_key: str | None = None,
) -> list[dict[str, Any]]:
    """Build named parameter groups for any torch.optim optimizer, and freeze the rest of the model.

    ``spec`` is a path, a dict, a :class:`Spec` or an already compiled plan; ``[model]``, ``[[task]]`` and
    ``[train]`` may be absent. The groups are the spec's partition of all trainable tensors, in
    registration order; each holds ``params`` as ``(name, tensor)`` pairs, ``name``, ``lr``,
    ``weight_decay`` and the options that the spec sets: these overrule the optimizer's constructor, and all others
    are the constructor's. Where the plan has several optimizers, ``optimizer`` says whose group it is (empty for
    that of ``[optimizer]``). ``freeze=False`` leaves the model alone.

    ``named=False`` gives tensors alone and no ``name``, for optimizers that take no others. ``scale_key`` (timm's
    ``lr_scale``) adds under that key the group's rate as a multiple of the base rate, for schedulers that multiply
    by it; ``initial_lr``, from which they start, is then the base rate: no scheduler of torch goes with that.

    What was frozen, and all advice, is logged under ``freezeplan``; raises :class:`freezeplan.DiagnosticError`.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    >>> groups = build_param_groups(model, {"optimizer": {"lr": 0.001, "no_decay": []}, "rule": [
    ...     {"name": "body", "match": "**", "state": "frozen"},
    ...     {"name": "head", "match": "1", "state": "trainable", "lr_mult": 10.0}]})
    >>> [(group["name"], group["lr"], [name for name, _ in group["params"]]) for group in groups]
    [('head', 0.01, ['1.weight', '1.bias'])]
    >>> optimizer = torch.optim.AdamW(groups)
    """
    from freezeplan.apply.announcing import announce
    from freezeplan.apply.groups import parameter_groups

    plan = spec if isinstance(spec, Plan) else compile_plan(model, spec)
    groups = parameter_groups(model, plan, named=named, scale_key=scale_key)
    if freeze:
        apply_freeze(model, plan)
    announce(plan, applied=freeze)
    return groups


def build_optimizer(
    model: torch.nn.Module, spec: SpecLike | Plan, *, freeze: bool = True, **options: Any
) -> torch.optim.Optimizer:
    """Build the optimizer that a spec names over its groups, and freeze the rest of the model.

    ``spec`` and ``freeze`` are those of :func:`build_param_groups`; ``options`` are further arguments of the
    optimizer's class. Several optimizers (``[optimizer.NAME]``) come as one, whose groups and state are theirs: a
    scheduler, :func:`enter_phase` and :func:`verify` take it as any other, and ``.optimizers`` holds them. One from
    elsewhere (``class``) is imported now. Raises :class:`freezeplan.DiagnosticError`.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    >>> optimizer = build_optimizer(model, {
    ...     "optimizer": {"lr": 1e-4, "muon": {"name": "muon", "match": "0.weight", "lr": 1e-3}},
    ...     "rule": [{"name": "all", "match": "**", "state": "trainable"}]})
    >>> [type(part).__name__ for part in optimizer.optimizers]
    ['AdamW', 'Muon']
    >>> {group["name"]: group["lr"] for group in optimizer.param_groups}
    {'all/no_decay': 0.0001, 'all': 0.0001, 'all/muon': 0.001}
    """
    from freezeplan.apply.announcing import announce
    from freezeplan.apply.groups import build_optimizer as build

    plan = spec if isinstance(spec, Plan) else compile_plan(model, spec)
    optimizer = build(model, plan, **options)
    if freeze:
        apply_freeze(model, plan)
    announce(plan, applied=freeze)
    return optimizer
