"""Tells quantised weights in a live model: by what their tensor and their module say."""

from __future__ import annotations

from typing import Any

# Libraries whose tensors are packed, and those whose modules hold nothing but packed weights, scales and biases.
TENSORS = frozenset({"bitsandbytes", "torchao", "optimum", "quanto"})
MODULES = frozenset(
    {"aqlm", "auto_gptq", "awq", "compressed_tensors", "eetq", "gptqmodel", "hqq", "quark", "vptq"}
)
INTEGRATIONS = "transformers.integrations."


def quantized_as(name: str, tensor: Any, module: Any) -> str | None:
    """Return what a parameter is quantised as, None for one that holds plain numbers.

    ``name`` is its name in its module. Packed weights stored in a floating-point format, and float8 weights,
    take no gradient either.
    """
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype.startswith("float8"):
        return dtype
    if _package(type(tensor)) in TENSORS:
        return type(tensor).__name__
    kind = type(module)
    if name != "bias" and (_package(kind) in MODULES or _is_integration(kind)):
        return f"part of a {kind.__name__}"
    return None


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _is_integration(kind: type) -> bool:
    return kind.__module__.startswith(INTEGRATIONS) and "Linear" in kind.__name__
