"""A parameter that is kept in half the space: it rests in 16 bits, and computes as what it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode

from freezeplan.apply.formats import COMPUTES_IN, computes_in

PROPERTIES = frozenset(["__get__", "__set__", "__delete__"])
COMPUTED = frozenset(getattr(torch.Tensor, name).__get__ for name in ("T", "mT", "H", "mH", "real", "imag"))
"""Properties that are views with numbers in them."""
_METHODS = """
detach data_ptr untyped_storage _typed_storage storage storage_offset stride size dim numel nelement element_size
is_contiguous is_floating_point is_complex get_device is_inference is_pinned is_shared is_set_to _is_view
register_hook __hash__ __repr__ __len__ __deepcopy__ __reduce_ex__
"""
ABOUT_STORAGE = frozenset(_METHODS.split())
"""Methods that are about what is stored."""
GATHERING = frozenset(
    [torch.nn.functional.embedding, torch.embedding, torch.index_select, torch.Tensor.index_select]
) | {torch.Tensor.__getitem__}
"""Functions that pick some of a tensor's numbers: those alone are widened."""
_PRODUCTS = "matmul mm bmm addmm baddbmm"
_CONVOLUTIONS = "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d"
IN_16_BITS = frozenset(
    [
        torch.nn.functional.linear,
        torch.Tensor.__matmul__,
        *(getattr(torch, name) for name in f"{_PRODUCTS} {_CONVOLUTIONS}".split()),
        *(getattr(torch.Tensor, name) for name in _PRODUCTS.split()),
    ]
)
"""Functions that autocast runs in 16 bits, and whose backward pass needs their weights again."""


class RestingParameter(torch.nn.Parameter):
    """A parameter whose numbers are stored in 16 bits, and widened by every function that computes with them.

    To the model's code it has the number format that it computes in: ``dtype`` says so, and a module that asks for the
    format of its weights goes on as before. The numbers are those of a model whose weights were rounded once. What is
    stored is ``detach()``, which is what state dicts, hashes and files hold. A copy that was widened lives as long as
    one function runs: the backward pass makes it again.

    >>> layer = torch.nn.Linear(2, 2).requires_grad_(False)
    >>> rest(layer.parameters(), torch.bfloat16)
    >>> layer.weight.dtype, layer.weight.detach().dtype, layer(torch.ones(1, 2)).dtype
    (torch.float32, torch.bfloat16, torch.float32)
    """

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function on what is stored where it does not compute, else on wide copies."""
        return at_work(func, args, kwargs or {})

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Return a copy that rests too."""
        if id(self) not in memo:
            memo[id(self)] = _remade(self.detach().clone(), computes_in(self), self.requires_grad)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle what is stored."""
        return _remade, (self.detach(), computes_in(self), self.requires_grad)


class WideningMode(TorchFunctionMode):
    """Do within the block for all tensors that were marked what a :class:`RestingParameter` does for itself.

    Fake tensors have a class of their own: :func:`marked` ones are computed with as resting ones are.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function as the tensors in it ask for."""
        found = kwargs or {}
        if any(_resting(item) for item in (*args, *found.values())):
            return at_work(func, args, found)
        return func(*args, **found)


def marked(tensor: torch.Tensor, wide: torch.dtype) -> torch.Tensor:
    """Mark a tensor to be widened by :class:`WideningMode`; returns it."""
    setattr(tensor, COMPUTES_IN, wide)
    return tensor


def rest(tensors: Iterable[torch.nn.Parameter], narrow: torch.dtype) -> None:
    """Round parameters to a number format and let them rest in it, in their place: each stays the same object."""
    for tensor in tensors:
        wide = tensor.dtype
        if computes_in(tensor) is None and wide.is_floating_point and wide.itemsize > narrow.itemsize:
            tensor.data = tensor.data.to(narrow)
            tensor.__class__ = RestingParameter
            marked(tensor, wide)


def _remade(stored: torch.Tensor, wide: torch.dtype, needed: bool) -> torch.nn.Parameter:
    return marked(RestingParameter(stored, needed), wide)


def _resting(item: Any) -> bool:
    if isinstance(item, (list, tuple)):
        return any(_resting(part) for part in item)
    return isinstance(item, torch.Tensor) and computes_in(item) is not None


def at_work(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run a function of torch, resting tensors among its arguments: what computes gets wide copies of them."""
    # Torch makes a new wrapper each time a property is named: it is equal, and not the same.
    if func == torch.Tensor.dtype.__get__:
        return computes_in(args[0])
    if func == torch.Tensor.data.__set__ and _resting(args[0]) and args[1].dtype == computes_in(args[0]):
        args = (args[0], args[1].to(_stored(args[0]).dtype))
    if _is_about_storage(func, args):
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)
    if func in GATHERING:
        wide = next(computes_in(item) for item in (*args, *kwargs.values()) if _resting(item))
        return func(*_each(args, _stored), **_named(kwargs, _stored)).to(wide)
    if func in IN_16_BITS:
        return _multiplied(func, args, kwargs)
    return func(*_each(args, _widened), **_named(kwargs, _widened))


def _is_about_storage(func: Any, args: Sequence[Any]) -> bool:
    name = getattr(func, "__name__", "")
    in_place = name.endswith("_") and not name.endswith("__") and _resting(args[0])
    return in_place or name in ABOUT_STORAGE or (name in PROPERTIES and func not in COMPUTED)


def _multiplied(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run a product of matrices; what waits for its backward pass is what rests, and no wide copy of it."""
    copies: dict[int, torch.Tensor] = {}

    def copy(tensor: torch.Tensor) -> torch.Tensor:
        stored, device = _stored(tensor), tensor.device.type
        if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == stored.dtype:
            return stored
        wide = _widened(tensor)
        copies[wide.untyped_storage()._cdata] = tensor
        return wide

    args, kwargs = _each(args, copy), _named(kwargs, copy)
    hooks = saved_tensors_hooks(lambda saved: _packed(saved, copies), _unpacked)
    with hooks if copies and torch.is_grad_enabled() else nullcontext():
        return func(*args, **kwargs)


Packed = tuple[torch.Tensor, tuple[int, ...], tuple[int, ...], int]


def _packed(saved: torch.Tensor, copies: Mapping[int, torch.Tensor]) -> torch.Tensor | Packed:
    own = copies.get(saved.untyped_storage()._cdata)
    return saved if own is None else (own, tuple(saved.shape), saved.stride(), saved.storage_offset())


def _unpacked(packed: torch.Tensor | Packed) -> torch.Tensor:
    if isinstance(packed, torch.Tensor):
        return packed
    own, shape, stride, offset = packed
    return _widened(own).as_strided(shape, stride, offset)


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    with torch._C.DisableTorchFunctionSubclass():
        return tensor.detach()


def _widened(tensor: torch.Tensor) -> torch.Tensor:
    return _stored(tensor).to(computes_in(tensor))


def _each(items: Sequence[Any], change: Callable[[torch.Tensor], torch.Tensor]) -> tuple[Any, ...]:
    return tuple(_changed(item, change) for item in items)


def _named(items: Mapping[str, Any], change: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, Any]:
    return {name: _changed(item, change) for name, item in items.items()}


def _changed(item: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(item, (list, tuple)):
        return type(item)(_changed(part, change) for part in item) if _resting(item) else item
    return change(item) if _resting(item) else item
