"""Which tensors a checkpoint holds quantised, told from its config before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# Where a method's config lists the modules that it leaves as they are.
KEPT = ("modules_to_not_convert", "llm_int8_skip_modules", "ignore")
WITH_EXPERTS = ("mxfp4", "fp8", "fbgemm_fp8", "compressed-tensors")
ONLY_EXPERTS = "mxfp4"


def quantized_in(model: Any) -> dict[str, str]:
    """Return the parameters that loading will find quantised, each with the method, by their names.

    ``model`` is one of transformers as its config builds it, with plain weights: ``quantization_config`` says
    that its linear layers (and for some methods its stacked experts) are packed, apart from those it lists and
    from output layers.
    """
    settings = _settings(model)
    method = str(settings.get("quant_method") or "")
    if not method or settings.get("dequantize") is True:
        return {}
    kept = _kept(settings, model)
    return {name: method for name in _packed(model, method) if not _is_kept(name.rpartition(".")[0], kept)}


def _settings(model: Any) -> Mapping[str, Any]:
    found = getattr(getattr(model, "config", None), "quantization_config", None)
    return found if isinstance(found, Mapping) else getattr(found, "to_dict", dict)()


def _packed(model: Any, method: str) -> Iterator[str]:
    """Yield the names of the weights of linear layers, and of stacked experts where the method packs those."""
    for path, module in model.named_modules():
        linear = type(module).__name__ in ("Linear", "Conv1D") and method != ONLY_EXPERTS
        experts = "Experts" in type(module).__name__ and method in WITH_EXPERTS
        for name, tensor in module._parameters.items():
            if tensor is not None and ((linear and name == "weight") or (experts and tensor.dim() == 3)):
                yield f"{path}.{name}" if path else name


def _kept(settings: Mapping[str, Any], model: Any) -> list[str]:
    listed = [entry for key in KEPT for entry in settings.get(key) or () if isinstance(entry, str)]
    if listed:
        return listed
    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return [name for name, module in model.named_modules() if output is not None and module is output]


def _is_kept(path: str, kept: list[str]) -> bool:
    from transformers.quantizers.quantizers_utils import should_convert_module

    return not should_convert_module(path, kept)
