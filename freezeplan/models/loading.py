"""Loads the real weights of a spec's model, and its tokenizer. Only safetensors are read, never pickle."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from freezeplan.data.labels import labels_of
from freezeplan.diagnostics import DiagnosticError
from freezeplan.diagnostics.wording import first_line, format_shape
from freezeplan.models.build import Labels, chosen_class, dtype_of, from_config, with_heads
from freezeplan.models.checkpoint import WeightsProblem, check_weights, fetch_weights
from freezeplan.models.configs import config_object
from freezeplan.models.native import NativeHead
from freezeplan.models.own_head import own_tasks, renamed, state_in_run
from freezeplan.models.provided import base_prefix
from freezeplan.models.refusals import too_large
from freezeplan.models.remote_code import check_remote_code, place_of, revision_of, trusts
from freezeplan.models.resolve import Source, resolve_source, with_real_config
from freezeplan.models.run_weights import read_weights
from freezeplan.models.sealed import Altered
from freezeplan.models.ties import tied_pairs, untie
from freezeplan.outside import hub
from freezeplan.outside.memory import is_out_of_memory
from freezeplan.outside.quiet import quiet
from freezeplan.outside.regular import open_regular
from freezeplan.spec.keys import SOURCE
from freezeplan.spec.locations import attaching, error_at_key
from freezeplan.spec.tables import Spec
from freezeplan.tasks.heads import ComparisonHead

HEAD_STD = 0.02


@dataclass(frozen=True)
class LoadRecord:
    """Say what became of each tensor: ``loaded`` from the source, ``fresh`` (random), ``unused`` there.

    ``loaded`` and ``fresh`` hold names of the model's parameters in registration order, each tied tensor
    under its first name; ``unused`` holds names of the checkpoint.
    """

    loaded: tuple[str, ...]
    fresh: tuple[str, ...]
    unused: tuple[str, ...] = ()


@attaching
def load_model(spec: Spec, directory: Path | None = None, *, weights: bool = True) -> tuple[Any, LoadRecord]:
    """Build the model of a spec in memory and load the weights of its source.

    The classes are those of the inventory. Heads that the source has no weights for are drawn from a normal
    distribution (standard deviation 0.02, biases 0) by a generator of their own, seeded with ``train.seed``
    and the task's name, so they depend neither on torch's global generator nor on the other tasks. Without
    ``weights`` nothing is read: all values are to come from a checkpoint, and count as loaded.

    Returns the model (on the CPU, in training mode) and what was loaded. Raises ``DiagnosticError`` for
    missing weights (FP168) and for weights that do not fit (FP169), besides all that building raises.
    """
    source = resolve_source(spec, directory)
    if source.config is None:
        message = f"`{source.label}` is a file of tensors: without a config there is no model to train"
        raise error_at_key(SOURCE, "FP173", message, help="add `architecture`, or name the model's folder")
    source = with_real_config(source, spec)
    check_remote_code(source, spec)
    labels = labels_of(spec, source.trained_labels)
    if not weights:
        return _to_be_filled(source, spec, labels)
    state = _read_run(source)
    model, missing, unused = _loaded_backbone(source, spec, state)
    if spec.task:
        own = own_tasks(spec)
        missing = renamed(missing, base_prefix(model) if own else "", own)
        with torch.random.fork_rng(devices=[]):
            model = with_heads(model, source, spec, labels)
        missing |= set(_set_heads(model, source, spec, state))
    names = [name for name, _ in model.named_parameters()]
    fresh = tuple(name for name in names if name in missing)
    return model.train(), LoadRecord(
        tuple(n for n in names if n not in missing), fresh, tuple(sorted(unused))
    )


def _to_be_filled(source: Source, spec: Spec, labels: Labels) -> tuple[Any, LoadRecord]:
    config = config_object(source, spec)
    model = _random(chosen_class(config, source, spec), config, source, spec)
    with torch.random.fork_rng(devices=[]):
        model = with_heads(model, source, spec, labels) if spec.task else model
    return model.train(), LoadRecord(tuple(name for name, _ in model.named_parameters()), ())


def _loaded_backbone(source: Source, spec: Spec, state: Mapping[str, Any]) -> tuple[Any, set[str], set[str]]:
    config = config_object(source, spec)
    chosen = chosen_class(config, source, spec)
    if source.kind == "none":
        model = _random(chosen, config, source, spec)
        return model, {name for name, _ in model.named_parameters()}, set()
    if source.run is not None:
        return _from_run(chosen, config, source, spec, state)
    return _from_pretrained(chosen, config, source, spec)


def _random(chosen: Any, config: Any, source: Source, spec: Spec) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.train.seed)
        return from_config(chosen, config, source, spec)


def _from_pretrained(chosen: Any, config: Any, source: Source, spec: Spec) -> tuple[Any, set[str], set[str]]:
    place, options = _options(chosen, config, source, spec)
    if source.kind == "file":
        chosen = type(_random(chosen, config, source, spec))
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.train.seed)
            model, info = chosen.from_pretrained(
                place,
                config=config,
                dtype=dtype_of(spec),
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
                **options,
            )
    except Exception as error:
        raise _refused(source, error) from None
    missing, unused = set(info["missing_keys"]), set(info["unexpected_keys"])
    _check_shapes(source, info["mismatched_keys"])
    _check_missing(source, model, missing)
    return model, missing, unused


def _options(chosen: Any, config: Any, source: Source, spec: Spec) -> tuple[str | None, dict[str, Any]]:
    """Return where transformers finds the weights and how it may read them: safetensors only."""
    # It could name any other file to be loaded in the place of the weights.
    config.transformers_weights = None
    if source.file is not None:
        return None, {"state_dict": _read(source.file, source)}
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": source.kind != "hub"}
    revision = _checked_weights(source, spec)
    if revision:
        options["revision"] = revision
    if hasattr(chosen, "_model_mapping"):
        options["trust_remote_code"] = False  # what the model ships was found by name
    return place_of(source), options


def _checked_weights(source: Source, spec: Spec) -> str | None:
    """Refuse weights that are not safetensors of the source's own; return the revision to load from the hub."""
    if not source.present:
        advice = "`architecture` stands in for it in `show` and `check` only; training needs its weights"
        message = f"model source `{source.label}` does not exist"
        raise error_at_key(SOURCE, "FP150", message, help=advice)
    try:
        if source.kind == "hub":
            assert source.repo is not None
            return fetch_weights(source.repo, spec.model.revision)
        check_weights(source.folder or Path(), source.label)
    except WeightsProblem as problem:
        raise error_at_key(SOURCE, "FP168", str(problem), help=problem.advice) from None
    except hub.HubProblem as problem:
        message = f"the weights of `{source.label}` are not on this machine, and {problem}"
        raise error_at_key(SOURCE, "FP156", message, help=hub.ADVICE) from None
    return None


def _refused(source: Source, error: Exception) -> DiagnosticError:
    if is_out_of_memory(error):
        return too_large(source)
    if source.kind == "hub" and isinstance(error, OSError):
        message = f"the weights of `{source.label}` are not on this machine: {first_line(error)}"
        return error_at_key(SOURCE, "FP156", message, help=hub.ADVICE)
    message = f"the weights of `{source.label}` do not load: {first_line(error)}"
    return error_at_key(SOURCE, "FP169", message, help="use the config that belongs to the weights")


def _check_missing(source: Source, model: Any, missing: Iterable[str]) -> None:
    """Allow a pooler and what is outside the base model to be new; anything else missing is an error."""
    inside = base_prefix(model)
    lost = [name for name in sorted(missing) if name.startswith(inside) and "pooler" not in name]
    if lost:
        raise _unfit(source, f"{len(lost)} tensors are missing, `{lost[0]}` first")


def _check_shapes(source: Source, mismatched: Iterable[tuple[str, Sequence[int], Sequence[int]]]) -> None:
    """Refuse tensors of other shapes: each is given by its name, its shape in the weights and in the model."""
    found = sorted(mismatched)
    if found:
        name, stored, built = found[0]
        shapes = (
            f"`{name}` is {format_shape(tuple(stored))} there and {format_shape(tuple(built))} by the config"
        )
        raise _unfit(source, shapes + (f", and {len(found) - 1} more" if len(found) > 1 else ""))


def _unfit(source: Source, what: str) -> DiagnosticError:
    message = f"the weights of `{source.label}` do not fit its config: {what}"
    return error_at_key(SOURCE, "FP169", message, help="use the config that belongs to the weights")


def _from_run(
    chosen: Any, config: Any, source: Source, spec: Spec, tensors: Mapping[str, Any]
) -> tuple[Any, set[str], set[str]]:
    """Load a run's backbone, whose tensors have the names that it has in memory."""
    model = _random(chosen, config, source, spec)
    state = state_in_run(tensors, source.run, spec, model)
    untie(model, [name for name, other in tied_pairs(model).items() if _are_two(state, name, other)])
    try:
        missing, unused = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise _unfit(source, str(error).strip().splitlines()[-1].strip()) from None
    lost = _untied(model, missing)
    _check_missing(source, model, lost)
    return model, lost, set(unused)


def _are_two(state: Mapping[str, Any], one: str, other: str) -> bool:
    return one in state and other in state and not torch.equal(state[one], state[other])


def _untied(model: Any, missing: Iterable[str]) -> set[str]:
    """Drop from ``missing`` the names of tensors that were loaded under another name."""
    lost = set(missing)
    tensors = list(model.named_parameters(remove_duplicate=False)) + list(
        model.named_buffers(remove_duplicate=False)
    )
    loaded = {id(tensor) for name, tensor in tensors if name not in lost}
    return {name for name, tensor in tensors if name in lost and id(tensor) not in loaded}


def _read_run(source: Source) -> dict[str, Any]:
    """Return a run's tensors, its files checked against their hashes; nothing for other sources."""
    if source.run is None or source.folder is None:
        return {}
    try:
        source.run.check_files(source.folder)
        return read_weights(source.folder, source.run.weights)
    except Altered as problem:
        message = f"the run `{source.label}` cannot be used: {problem}"
        advice = "copy the folder again, whole, or name another run"
        raise error_at_key(SOURCE, "FP164", message, help=advice) from None


def _read(path: Path, source: Source) -> dict[str, Any]:
    from safetensors.torch import load_file

    if not os.path.lexists(path):
        raise error_at_key(SOURCE, "FP168", f"`{source.label}` has no {path.name}")
    try:
        open_regular(path).close()
        return load_file(path)
    except Exception as error:
        message = (
            f"`{path.name}` of `{source.label}` is not a readable .safetensors file: {first_line(error)}"
        )
        raise error_at_key(SOURCE, "FP160", message) from None


def _set_heads(model: Any, source: Source, spec: Spec, state: Mapping[str, Any]) -> list[str]:
    """Fill the heads, from the run where it has them, and return the names of those that are fresh."""
    fresh: list[str] = []
    own = own_tasks(spec)
    for task in (task for task in spec.task if task.name not in own):
        names = {name: f"heads.{task.name}.{name}" for name, _ in model.heads[task.name].named_parameters()}
        if all(name in state for name in names.values()):
            _set_head(model.heads[task.name], {name: state[full] for name, full in names.items()}, source)
        else:
            init_head_(model.heads[task.name], spec.train.seed, task.name)
            fresh += names.values()
    return fresh


def _set_head(head: Any, state: dict[str, Any], source: Source) -> None:
    try:
        head.load_state_dict(state)
    except RuntimeError as error:
        raise _unfit(source, str(error).strip().splitlines()[-1].strip()) from None


def init_head_(head: Any, seed: int, name: str) -> None:
    """Draw a head's weights from normal(0, 0.02) and set its biases to 0, by ``seed`` and task name alone.

    A native head is drawn as transformers draws it, and one that compares vectors begins as their cosine.
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    own_seed = int.from_bytes(digest[:7], "big")
    if isinstance(head, NativeHead | ComparisonHead):
        head.draw_(own_seed)
        return
    generator = torch.Generator().manual_seed(own_seed)
    with torch.no_grad():
        for parameter in head.parameters():
            drawn = torch.empty(parameter.shape, dtype=torch.float32).normal_(
                0.0, HEAD_STD, generator=generator
            )
            parameter.copy_(drawn if parameter.dim() > 1 else torch.zeros_like(drawn))


@attaching
def load_tokenizer(spec: Spec, directory: Path | None = None) -> Any:
    """Return the tokenizer that the spec's source ships; raises FP171 when there is none that loads."""
    from transformers import AutoTokenizer

    source = resolve_source(spec, directory)
    place = place_of(source)
    if place is None:
        message = "an architecture alone has no tokenizer"
        raise error_at_key(source.config_at, "FP171", message, help="name a `source` that ships one")
    options = {"revision": revision_of(source, spec)} if source.kind == "hub" else {"local_files_only": True}
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=trusts(spec), **options)
    except Exception as error:
        raise _no_tokenizer(f"the tokenizer of `{source.label}` does not load: {first_line(error)}") from None
    if source.kind != "hub" and _without_files(tokenizer, Path(place)):
        raise _no_tokenizer(f"`{source.label}` ships no vocabulary: every text would be unknown tokens")
    return tokenizer


def _without_files(tokenizer: Any, folder: Path) -> bool:
    """Tell whether a tokenizer that reads files found none, which transformers passes over for some types."""
    names = set((type(tokenizer).vocab_files_names or {}).values())
    return bool(names) and not any((folder / name).is_file() for name in (*names, "tokenizer.json"))


def _no_tokenizer(message: str) -> DiagnosticError:
    advice = (
        "the source needs its tokenizer's files (tokenizer.json, or vocabulary and tokenizer_config.json)"
    )
    return error_at_key(SOURCE, "FP171", message, help=advice)
