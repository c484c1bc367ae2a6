"""How many bytes of tensors are alive, seen from every operation that makes one."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from freezeplan.apply.tensors import own_part

ASIDE: ContextVar[bool] = ContextVar("ASIDE", default=False)
"""Set while what runs only finds out shapes: a real run would make none of these tensors."""


# Two that have seen the same bytes are still two.
@dataclass(eq=False)
class Window:
    """Tell how many bytes were alive at the start of a stretch of work, at its end, and at most between."""

    start: int
    end: int
    peak: int


class LiveBytes(TorchDispatchMode):
    """Count the bytes of all storages that operations inside the block make, until nothing refers to them.

    Views share their storage and add nothing; a storage counts as what it is resized to. Works on fake tensors as on
    real ones, and on this process's parts of those that are shared out. Memory that a kernel uses inside, and frees
    before it returns, is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self._alive: dict[int, weakref.ref[Any]] = {}
        self._sizes: dict[int, int] = {}
        self._windows: list[Window] = []

    def add(self, tensor: torch.Tensor) -> None:
        """Count a tensor that was made before."""
        self._add(own_part(tensor).untyped_storage())

    def _add(self, storage: Any) -> None:
        key = storage._cdata
        if key not in self._alive:
            self._alive[key] = weakref.ref(storage, self._forgetting(key))
            self._set_size(key, storage.nbytes())

    def _set_size(self, key: int, size: int) -> None:
        self.now += size - self._sizes.get(key, 0)
        self._sizes[key] = size
        for window in self._windows:
            window.peak = max(window.peak, self.now)

    def _forgetting(self, key: int) -> Callable[[Any], None]:
        def forget(_: Any) -> None:
            if self._alive.pop(key, None) is not None:
                self.now -= self._sizes.pop(key)

        return forget

    def __enter__(self) -> LiveBytes:
        """Begin to count."""
        # No operation tells of it: `fully_shard` frees and makes again what it gathers by resizing.
        resize = self._resize = torch.UntypedStorage.resize_

        def resized(storage: Any, size: int) -> Any:
            self._add(storage)
            found = resize(storage, size)
            self._set_size(storage._cdata, storage.nbytes())
            return found

        torch.UntypedStorage.resize_ = resized  # type: ignore[method-assign]
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """Count no more."""
        super().__exit__(*error)
        torch.UntypedStorage.resize_ = self._resize  # type: ignore[method-assign]

    @contextmanager
    def window(self) -> Iterator[Window]:
        """Watch what happens inside the block; ``end`` is set when it is left."""
        window = Window(self.now, self.now, self.now)
        self._windows.append(window)
        try:
            yield window
        finally:
            window.end = self.now
            self._windows.remove(window)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and count what it made."""
        # What is shared out is taken apart first: the operation on its part comes by here then.
        if any(hasattr(kind, "full_tensor") for kind in types):
            return NotImplemented
        made = func(*args, **(kwargs or {}))
        for leaf in () if ASIDE.get() else tree_leaves(made):
            if isinstance(leaf, torch.Tensor):
                self.add(leaf)
        return made


class NumbersAsOne(TorchDispatchMode):
    """Answer 1 where a number is read off a fake tensor, which has none.

    For an optimizer's step only: what it allocates does not depend on the values that it reads.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, or answer in its place."""
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1.0 if args[0].dtype.is_floating_point else 1
        return func(*args, **(kwargs or {}))
