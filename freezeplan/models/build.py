"""Builds the model of a spec, on the meta device for a look at it or in memory for training."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from freezeplan.data.modality import check_kinds
from freezeplan.diagnostics import DiagnosticError
from freezeplan.diagnostics.wording import first_line
from freezeplan.models.classes import model_class
from freezeplan.models.configs import config_object, hidden_size
from freezeplan.models.left_open import pooling_of
from freezeplan.models.limits import counting_modules
from freezeplan.models.looking_ahead import check_order_of_config
from freezeplan.models.own_head import own_tasks, taken_apart, whole_class
from freezeplan.models.refusals import refused
from freezeplan.models.resolve import Source
from freezeplan.models.ties import untie_as_loaded
from freezeplan.models.timm_models import build_timm
from freezeplan.outside.quiet import quiet
from freezeplan.spec.locations import error_at_key
from freezeplan.spec.tables import Spec
from freezeplan.tasks import task_kind

DEFAULT_DTYPE = "float32"
Labels = Mapping[str, tuple[str, ...]]


def build_meta_model(source: Source, spec: Spec, labels: Labels) -> Any:
    """Build the model of a spec on the meta device: the real classes and shapes, no memory, no weights.

    ``labels`` maps each task's name to its labels. With tasks the model is a :class:`MultiTaskModel`, without
    the class that ``[model]`` names. Raises ``DiagnosticError`` (FP152 to FP155, FP158, FP170, FP175; FP184 and FP185
    for a model of timm; FP183 and FP472 for tasks that are not for the model).
    """
    import torch

    with spec.locations.attached():
        if source.kind == "timm":
            with torch.device("meta"):
                return build_timm(source, dtype_of(spec))
        with torch.device("meta"):
            config = config_object(source, spec)
            chosen = chosen_class(config, source, spec)
            model = from_config(chosen, config, source, spec)
        check_order_of_config(spec, chosen, config)
        untie_as_loaded(model, source)
        with torch.device("meta"):
            return _fed(with_heads(model, source, spec, labels), spec) if spec.task else model


def _fed(model: Any, spec: Spec) -> Any:
    """Return the model of tasks, if it reads what their rows hold; raises FP472."""
    problems = check_kinds(spec, model.backbone)
    if problems:
        raise DiagnosticError(problems)
    return model


def chosen_class(config: Any, source: Source, spec: Spec) -> Any:
    """Return the class to build: the base model for a spec with tasks, else the one that it names.

    Where a task stands on the model's own head, that is the class that has it.
    """
    if own_tasks(spec):
        return whole_class(config, source, spec)
    return model_class(None if spec.task else spec.model.class_, config, source, spec)


def from_config(chosen: Any, config: Any, source: Source, spec: Spec) -> Any:
    """Build one model from its config alone: its weights are random, or absent on the meta device."""
    options: dict[str, Any] = {"dtype": dtype_of(spec)}
    try:
        with quiet(), counting_modules(source):
            if hasattr(chosen, "_model_mapping"):
                options["trust_remote_code"] = False  # what the model ships was found by name
                model = chosen.from_config(config, **options)
            else:
                model = chosen._from_config(config, **options)
            return _with_float32_parts(model, options["dtype"])
    except DiagnosticError:
        raise
    except Exception as error:
        raise refused(source, error) from None


def _with_float32_parts(model: Any, dtype: Any) -> Any:
    """Hold in float32 what the model's class keeps so (T5's ``wo``), as loading its weights does."""
    from transformers.core_model_loading import build_glob_alternation

    kept = model._get_dtype_plan(dtype)
    if kept:
        pattern, *_ = build_glob_alternation(list(kept))
        for name, tensor in model.named_parameters():
            if pattern.search(name):
                tensor.data = tensor.data.float()
    return model


def with_heads(model: Any, source: Source, spec: Spec, labels: Labels) -> Any:
    """Return a model with one head per task of the spec; raises FP170 for an unknown output size.

    The model is a backbone, or, where tasks stand on the model's own head, the whole of both.
    """
    from freezeplan.models.multitask import MultiTaskModel

    own = own_tasks(spec)
    backbone, head = taken_apart(model, spec) if own else (model, None)
    hidden = hidden_size(backbone.config)
    if hidden is None:
        message = f"the size of the vectors that `{source.label}` puts out is not in its config"
        raise error_at_key(source.config_at, "FP170", message, help="give its config a `hidden_size`")
    _check_sizes(spec, hidden)
    heads = {
        task.name: head
        if task.name in own
        else _head_of(index, hidden, backbone.config, source, spec, labels[task.name]).to(dtype_of(spec))
        for index, task in enumerate(spec.task)
    }
    over_words = [task.name for task in spec.task if task_kind(task).reads_words]
    return MultiTaskModel(
        backbone, hidden, heads, pooling_of(spec, source), over_words, own, spec.train.precision
    )


def _head_of(
    index: int, hidden: int, config: Any, source: Source, spec: Spec, labels: tuple[str, ...]
) -> Any:
    task = spec.task[index]
    if task.head != "native":
        return task_kind(task).head(hidden, labels, task.dropout)
    return native_head_of(index, config, source, spec, labels)


def _check_sizes(spec: Spec, hidden: int) -> None:
    """Refuse vectors that are to be cut to more numbers than they have."""
    for index, task in enumerate(spec.task):
        over = [size for size in task.matryoshka or () if size > hidden]
        if over:
            message = f"`matryoshka` cuts vectors to {over[0]} numbers, and the model's have {hidden}"
            raise error_at_key(
                ("task", index, "matryoshka"), "FP104", message, help=f"name sizes up to {hidden}"
            )


def native_head_of(index: int, config: Any, source: Source, spec: Spec, labels: tuple[str, ...]) -> Any:
    """Return the head of transformers' own for a task of the spec; raises FP183 where there is none."""
    from freezeplan.models.native import Unbuildable, native_head, stock_config

    name = spec.task[index].name
    try:
        if not task_kind(spec.task[index]).stock:
            raise Unbuildable(task_kind(spec.task[index]).without_stock)
        with quiet():
            own = stock_config(config, labels, task_kind(spec.task[index]).problem_type)
            return native_head(stock_class(index, config, source, spec), own)
    except Unbuildable as reason:
        cause = str(reason)
    except DiagnosticError as error:
        cause = error.diagnostics[0].message
    except Exception as error:  # noqa: BLE001 - whatever a model's own code says of a config
        cause = first_line(error)
    message = f"there is no native head for the task `{name}`: {cause}"
    advice = 'use `head = "linear"`, with the `pooling` that suits the model'
    raise error_at_key(("task", index, "head"), "FP183", message, help=advice)


def stock_class(index: int, config: Any, source: Source, spec: Spec) -> Any:
    """Return the class of transformers for a task of the spec; raises FP155 where the architecture has none."""
    task = spec.task[index]
    classes = task_kind(task).stock
    names = list(dict.fromkeys(classes.values())) if task.data is None else [classes[task.data.kind]]
    for name in names[:-1]:
        with suppress(DiagnosticError):
            return model_class(name, config, source, spec)
    return model_class(names[-1], config, source, spec)


def dtype_of(spec: Spec) -> Any:
    """Return the torch dtype that the spec's model is held in."""
    import torch

    return getattr(torch, spec.model.dtype or DEFAULT_DTYPE)
