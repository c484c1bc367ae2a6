"""Advice about what the model itself does: tensors that it holds, and modules that move or fail when frozen."""

from __future__ import annotations

from collections.abc import Iterator

from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import counted, some
from freezeplan.inventory.records import FIXED, IDLE, RECURRENT, UNSAVED, ModuleInfo, ParamInfo
from freezeplan.plan.advice import Subject
from freezeplan.plan.records import Assignment
from freezeplan.spec.locations import at_key

MOST_NAMED = 3
HELD = {
    FIXED: (
        "FP491",
        "{} that the model holds fixed (requires_grad = False) would train: {}",
        "add a rule below that freezes what its author keeps fixed, such as a table of sinusoids",
    ),
    UNSAVED: (
        "FP492",
        "{} would train that `save_pretrained` does not save, as no adapter is among them: {}",
        "name the module in `modules_to_save` of the PEFT config, and train `@adapters`",
    ),
    IDLE: (
        "FP493",
        "{} would train that the model does not run: {}",
        "`@adapters` names the active adapter and the copies of saved modules; freeze the rest",
    ),
}


def held_and_trained(summary: Subject) -> Iterator[Diagnostic]:
    """Tensors that the model, or PEFT, keeps as they are, and that some phase trains."""
    for held, (code, message, advice) in HELD.items():
        found = [(info, what) for info, what in summary.pairs if info.held == held and what.trainable]
        if found:
            names = some([info.name for info, _ in found], MOST_NAMED)
            text = message.format(counted(len(found), "tensor"), names)
            yield at_key(summary.place(found[0][1]), code, text, help=advice)


def moving_tables(subject: Subject) -> Iterator[Diagnostic]:
    """A frozen embedding that shortens its rows as it looks them up."""
    for module, what in _frozen_modules(subject):
        if module.max_norm is not None:
            message = (
                f"`{module.path}` is frozen, but its rows longer than max_norm = {module.max_norm:g} are"
            )
            advice = "set `max_norm = None` on the module (the rows keep their lengths), or train it"
            yield at_key(
                subject.place(what), "FP494", f"{message} shortened whenever they are looked up", help=advice
            )


def unsteady_norms(subject: Subject) -> Iterator[Diagnostic]:
    """Frozen BatchNorm without running averages: eval mode does not settle what it puts out."""
    found = [(module, what) for module, what in _frozen_modules(subject) if _by_batch(module)]
    if found:
        names = some([module.path for module, _ in found], MOST_NAMED)
        message = f"{counted(len(found), 'frozen BatchNorm')} without running averages: {names}"
        advice = "what they put out depends on the batch in eval mode too; build them with track_running_stats = True"
        yield at_key(subject.place(found[0][1]), "FP495", message, help=advice)


def _by_batch(module: ModuleInfo) -> bool:
    return "_BatchNorm" in module.classes and "running_mean" not in module.buffers


def recurrent_in_eval_mode(subject: Subject) -> Iterator[Diagnostic]:
    """A frozen recurrent layer in eval mode that gradients pass: cuDNN has no backward for it."""
    trained = [info.name for info, what in subject.pairs if what.trainable]
    for module, what in _frozen_modules(subject):
        if RECURRENT not in module.classes:
            continue
        before = tuple(f"{path}." for path in module.runs_before)
        first = next((name for name in trained if f"{name}.".startswith(before)), None)
        if first is not None and what.eval_mode is not False:
            message = (
                f"`{module.path}` ({module.classes[0]}) is frozen in eval mode, and gradients pass through it"
            )
            advice = "freeze what is before it, or write `eval_mode = false` in a rule for it: its dropout is then live"
            text = f"{message} to `{first}`: on a GPU, cuDNN refuses that"
            yield at_key(subject.place(what), "FP496", text, help=advice)


def _frozen_modules(subject: Subject) -> Iterator[tuple[ModuleInfo, Assignment]]:
    """Yield the modules whose own tensors are all frozen, each with what holds for the first of them."""
    own: dict[str, list[tuple[ParamInfo, Assignment]]] = {}
    for info, what in subject.pairs:
        own.setdefault(info.module, []).append((info, what))
    for module in subject.inventory.modules:
        pairs = own.get(module.path, [])
        if pairs and not any(what.trainable for _, what in pairs):
            yield module, pairs[0][1]


OF_A_MODEL = (moving_tables, unsteady_norms, recurrent_in_eval_mode)
