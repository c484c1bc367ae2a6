"""Products of a head by oneDNN: the numbers and gradients of torch's own, where they are plain, and only there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from freezeplan.tasks import products
from freezeplan.tasks.products import fast_products

CPU = torch.device("cpu")


class Seen(TorchDispatchMode):
    """Note the names of the operations that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def by_onednn(linear: torch.nn.Module, states: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """Return the outputs within the block, and whether oneDNN made them."""
    with fast_products(CPU), Seen() as seen:
        out = linear(states)
    return out, "mkldnn_linear" in seen.names


@pytest.fixture(autouse=True)
def wide_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")


@pytest.mark.parametrize("bias", [True, False])
def test_outputs_and_gradients_are_those_of_torch(bias: bool) -> None:
    torch.manual_seed(0)
    linear, states = torch.nn.Linear(48, 300, bias=bias), torch.randn(1, 37, 48, requires_grad=True)
    given = torch.randn(1, 37, 300)
    inputs = [states, *linear.parameters()]
    found, fast = by_onednn(linear, states)
    assert fast and found.layout == torch.strided
    torch.testing.assert_close(found, linear(states), rtol=1e-5, atol=1e-5)
    wanted = torch.autograd.grad(linear(states), inputs, given)
    for one, other in zip(torch.autograd.grad(found, inputs, given), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)


class Marked(torch.Tensor):
    """Stand for tensors that do more than hold numbers, such as those that are spread over devices."""


@pytest.mark.parametrize(
    "case", ["bfloat16", "double", "class", "empty", "16 bits", "narrow", "switched off", "meta"]
)
def test_what_is_not_plain_runs_as_it_is(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dtype = {"bfloat16": torch.bfloat16, "double": torch.float64}.get(case, torch.float32)
    place = "meta" if case == "meta" else "cpu"
    linear = torch.nn.Linear(8, 5, dtype=dtype, device=place)
    states = torch.ones(0 if case == "empty" else 3, 8, dtype=dtype, device=place)
    if case == "class":
        states = states.as_subclass(Marked)
    if case == "narrow":
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    if case == "switched off":
        monkeypatch.setattr(products.torch.backends.mkldnn, "enabled", False)
    with torch.autocast("cpu", torch.bfloat16, enabled=case == "16 bits"):
        out, fast = by_onednn(linear, states)
    assert not fast and out.shape == (len(states), 5)


def test_on_another_device_nothing_is_changed() -> None:
    with fast_products(torch.device("meta")), Seen() as seen:
        torch.nn.Linear(8, 5)(torch.ones(3, 8))
    assert "mkldnn_linear" not in seen.names
