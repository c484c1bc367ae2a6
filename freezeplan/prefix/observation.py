"""One forward of a model, watched: which blocks ran, in which order, and what each did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from freezeplan.prefix.forms import Form, form_of, hidden_output
from freezeplan.prefix.refusal import Refused
from freezeplan.prefix.sharded import pooled
from freezeplan.prefix.switching import random_state, same_tensors


@dataclass(frozen=True)
class Call:
    """Describe one call of one block.

    ``finished`` names the modules that had returned when the block returned, ``entered`` those that had been
    called. ``problem`` says why the block's output cannot be given back. ``draws`` and ``mutates`` tell that
    it used random numbers, and that it changed an argument; ``changed`` names the model's own tensors that had
    changed by then.
    """

    block: str
    hidden: torch.Tensor | None
    form: Form | None
    problem: Refused | None
    finished: frozenset[str]
    entered: frozenset[str]
    draws: bool
    mutates: bool
    changed: frozenset[str]


@dataclass
class Observation:
    """Hold the calls of a forward in order, and what came out at the end.

    ``changed`` names the model's own tensors that the forward changed, ``mutates`` tells that it changed its
    inputs, ``draws`` that it used random numbers. ``names`` maps the identities of the parameters that it ran with,
    which may have been gathered for it, to their names.
    """

    calls: list[Call] = field(default_factory=list)
    pooled: torch.Tensor | None = None
    changed: frozenset[str] = frozenset()
    entered: frozenset[str] = frozenset()
    mutates: bool = False
    draws: bool = False
    names: dict[int, str] = field(default_factory=dict)

    def call_of(self, block: str) -> Call:
        """Return the first call of a block."""
        return next(call for call in self.calls if call.block == block)


class Watch:
    """Fill an :class:`Observation` from hooks while a model runs."""

    def __init__(self, model: nn.Module, blocks: Sequence[str]) -> None:
        self.model = model
        self.blocks = blocks
        self.seen = Observation()
        self.finished: set[str] = set()
        self.entered: set[str] = set()
        self.pending: dict[str, tuple[tuple[torch.Tensor, ...], list[int]]] = {}
        by_identity = {id(tensor): name for name, tensor in model.named_parameters()}
        self.seen.names = dict(by_identity)
        self.tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self.names = {
            path: by_identity[id(tensor)] for path, tensor in model.named_parameters(remove_duplicate=False)
        }
        self.versions = {name: _version(tensor) for name, tensor in self.tensors.items()}

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Watch within the block; every hook is taken off again."""
        with ExitStack() as stack:
            for name, module in self.model.named_modules():
                stack.callback(module.register_forward_pre_hook(partial(self._enter, name)).remove)
                stack.callback(module.register_forward_hook(partial(self._finish, name)).remove)
            for name in self.blocks:
                block = self.model.get_submodule(name)
                before, after = partial(self._before, name), partial(self._after, name)
                stack.callback(block.register_forward_pre_hook(before, with_kwargs=True).remove)
                stack.callback(block.register_forward_hook(after, with_kwargs=True).remove)
            yield

    def changed(self) -> frozenset[str]:
        """Return the names of the model's own tensors that were written to."""
        return frozenset(
            name for name, tensor in self.tensors.items() if _version(tensor) != self.versions[name]
        )

    def _enter(self, name: str, module: nn.Module, *_: Any) -> None:
        self.entered.add(name)
        for own, tensor in module.named_parameters(recurse=False):
            path = f"{name}.{own}" if name else own
            self.seen.names[id(tensor)] = self.names.get(path, path)

    def _finish(self, name: str, *_: Any) -> None:
        self.finished.add(name)

    def _before(self, name: str, _: nn.Module, args: Any, kwargs: Any) -> None:
        self.pending[name] = random_state(), [_version(item) for item in tensors_in((args, kwargs))]

    def _after(self, name: str, _: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        state, versions = self.pending.pop(name)
        hidden, form, problem = _formed(args, kwargs, output)
        self.seen.calls.append(
            Call(
                block=name,
                hidden=hidden,
                form=form,
                problem=problem,
                finished=frozenset(self.finished),
                entered=frozenset(self.entered),
                draws=not same_tensors(state, random_state()),
                mutates=versions != [_version(item) for item in tensors_in((args, kwargs))],
                changed=self.changed(),
            )
        )


def observe(
    model: nn.Module,
    blocks: Sequence[str],
    batch: Mapping[str, torch.Tensor],
    run: Callable[..., torch.Tensor] | None = None,
) -> Observation:
    """Run ``model.pool`` (or ``run``) once on copies of a batch and return what was seen of ``blocks``."""
    inputs = copied(batch)
    versions, state, watch = (
        [_version(item) for item in inputs.values()],
        random_state(),
        Watch(model, blocks),
    )
    with watch.hooked():
        found = run(**inputs) if run is not None else pooled(model, inputs)
    seen = watch.seen
    seen.pooled, seen.changed, seen.entered = found, watch.changed(), frozenset(watch.entered)
    seen.mutates = versions != [_version(item) for item in inputs.values()]
    seen.draws = not same_tensors(state, random_state())
    return seen


def copied(batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a batch whose tensors are copies, so that a model that writes to its inputs harms nobody."""
    return {name: value.clone() for name, value in batch.items()}


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Return the tensors in nested tuples, lists and dicts, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    items = (
        value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    )
    return [tensor for item in items for tensor in tensors_in(item)]


def _version(tensor: torch.Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _formed(args: Any, kwargs: Any, output: Any) -> tuple[torch.Tensor | None, Form | None, Refused | None]:
    try:
        # A later block may write into the hidden states: what is compared is what this block returned.
        return hidden_output(output).clone(), form_of(args, kwargs, output), None
    except Refused as problem:
        return None, None, problem
