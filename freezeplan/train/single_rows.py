"""BatchNorm and batches of one row: torch refuses the pair, which a run should not find out in its last step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from freezeplan.apply import set_modes
from freezeplan.data.encoder import Encoder
from freezeplan.diagnostics import Diagnostic, diagnostic
from freezeplan.plan.stepping import batch_sizes_of
from freezeplan.spec.locations import KeyPath
from freezeplan.spec.tables import Spec
from freezeplan.train.forward import EncodedSplit
from freezeplan.train.scheduling import ScheduledPhase

REFUSAL = "more than 1 value per channel"


def check_single_rows(
    spec: Spec,
    model: torch.nn.Module,
    encoder: Encoder,
    phases: Sequence[ScheduledPhase],
    train: Mapping[str, EncodedSplit],
    processes: int = 1,
) -> tuple[Diagnostic, ...]:
    """Report the tasks whose batches of one row a BatchNorm in training mode refuses (FP476).

    One row is enough for a BatchNorm over a larger image, so each such task is tried: one forward pass in the
    modes of every phase in which it learns and a BatchNorm trains. Afterwards the model is in the modes of the
    first phase; its buffers and the random state are as before. Several processes share each batch.
    """
    tried = [(item, tasks) for item in phases if (tasks := _tasks_to_try(spec, model, item, processes))]
    if not tried:
        return ()
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    refused: dict[str, int] = {}
    with torch.random.fork_rng(), torch.no_grad():
        for item, tasks in tried:
            set_modes(model, item.phase)
            refused |= {
                task: rows for task, rows in tasks.items() if _refuses(model, task, encoder, train[task])
            }
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    set_modes(model, phases[0].phase)
    return tuple(_report(spec, task, rows, processes) for task, rows in refused.items())


def check_shared_statistics(
    model: torch.nn.Module, phases: Sequence[ScheduledPhase], processes: int
) -> tuple[Diagnostic, ...]:
    """Warn (FP558) that a BatchNorm which trains in several processes sees a part of each batch in each."""
    if processes == 1 or not trains_statistics(model, phases):
        return ()
    message = f"BatchNorm trains, and each of the {processes} processes normalises its own rows of a batch"
    advice = "freeze the BatchNorm modules, or train in one process"
    return (diagnostic("FP558", message, help=advice),)


def trains_statistics(model: torch.nn.Module, phases: Sequence[ScheduledPhase]) -> bool:
    """Whether some phase has a BatchNorm in training mode: what it works out depends on how rows are shared."""
    return any(_trains_statistics(model, item.phase.eval_modules) for item in phases)


def _tasks_to_try(spec: Spec, model: torch.nn.Module, item: ScheduledPhase, processes: int) -> dict[str, int]:
    """Return the tasks that have a batch of one row in a phase that trains a BatchNorm, with their rows."""
    sizes, own = item.course.sizes if item.course else {}, batch_sizes_of(spec)
    tasks = {
        task: rows
        for task, rows in sizes.items()
        if _has_single(rows, own.get(task, spec.train.batch_size), processes)
    }
    return tasks if tasks and _trains_statistics(model, item.phase.eval_modules) else {}


def _has_single(size: int, batch: int, processes: int = 1) -> bool:
    """Say whether a batch leaves one row to a process: fewer than two rows for each of them."""
    return batch < 2 * processes or 0 < size % batch < 2 * processes


def _trains_statistics(model: torch.nn.Module, in_eval: tuple[str, ...]) -> bool:
    fixed = set(in_eval)
    return any(
        isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and path not in fixed
        for path, module in model.named_modules()
    )


def _refuses(model: torch.nn.Module, task: str, encoder: Encoder, split: EncodedSplit) -> bool:
    batch = encoder.batch(split.inputs, split.entries((0,)), next(model.parameters()).device)
    try:
        model(task=task, **batch)
    except ValueError as error:
        if REFUSAL in str(error):
            return True
        raise
    return False


def _report(spec: Spec, task: str, size: int, processes: int) -> Diagnostic:
    batch = batch_sizes_of(spec).get(task, spec.train.batch_size)
    other = next((n for n in range(batch + 1, size + 1) if not _has_single(size, n, processes)), None)
    shared = f", shared by {processes} processes," if processes > 1 else ""
    advice = "freeze the BatchNorm modules" + (f", or write batch_size = {other}" if other else "")
    return spec.locations.report(
        _batch_size_key(spec, task),
        "FP476",
        f"task `{task}` has {size} training rows: in batches of {batch}{shared} one of them is left alone, "
        "and BatchNorm cannot train on one row",
        help=advice,
    )


def _batch_size_key(spec: Spec, task: str) -> KeyPath:
    """Return the key that says how large a task's batches are."""
    place = next(place for place, item in enumerate(spec.task) if item.name == task)
    return ("train", "batch_size") if spec.task[place].batch_size is None else ("task", place, "batch_size")
