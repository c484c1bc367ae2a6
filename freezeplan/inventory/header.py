"""Reads names, shapes and number formats from safetensors files, without reading a tensor."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from freezeplan.diagnostics.wording import first_line
from freezeplan.inventory.names import without_parametrization
from freezeplan.inventory.records import Inventory, ModuleInfo, ParamInfo
from freezeplan.inventory.roles import with_structure
from freezeplan.inventory.structure import Hints, ancestors, as_index, last, parent
from freezeplan.outside.regular import open_regular
from freezeplan.spec.keys import SOURCE
from freezeplan.spec.locations import error_at_key

DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8",
    "BOOL": "bool",
}  # fmt: skip
STATISTICS = (
    "running_mean",
    "running_var",
    "num_batches_tracked",
    "position_ids",
    "token_type_ids",
    "inv_freq",
)
LONGEST_NAME = 2_000
DEEPEST_NAME = 100


def header_inventory(path: Path, label: str) -> Inventory:
    """Make an inventory of the names in one .safetensors file.

    Only names, shapes and number formats are known, so classes are absent, ties are invisible and roles are
    found by names: ``weak`` is true and a note says so. Parameters come in the order of their names, numbers
    counted as numbers. Raises FP160 for a file that is not safetensors, FP166 for one without parameters.
    """
    tensors = read_header(path, label)
    _check_names(tensors, label)
    names = sorted((name for name in tensors if not _is_buffer(name, tensors[name][1])), key=_natural)
    if not names:
        raise error_at_key(SOURCE, "FP166", f"`{label}` holds no parameters")
    params = tuple(_param(name, *tensors[name]) for name in names)
    note = "only the names in a file are known: ties and classes are not, and roles are found by names"
    bare = Inventory(label, params, _modules(names, tensors), origin="file header", weak=True, notes=(note,))
    return with_structure(bare, Hints())


def _check_names(names: Iterable[str], label: str) -> None:
    for name in names:
        if len(name) > LONGEST_NAME or name.count(".") > DEEPEST_NAME:
            size = f"{len(name):,} characters and {name.count('.'):,} dots"
            message = f"`{label}` names a tensor in {size}: that is no module's name"
            raise error_at_key(SOURCE, "FP160", message, help="name another file: this one is damaged")


def _is_buffer(name: str, dtype: str) -> bool:
    """Tell a buffer by its name or its format: weights are packed into other integers than these."""
    return last(name) in STATISTICS or dtype in ("bool", "int64")


def _param(name: str, shape: tuple[int, ...], dtype: str) -> ParamInfo:
    name, module = without_parametrization(name, parent(name))
    return ParamInfo(name, shape, dtype, module, loaded=True)


def _modules(names: list[str], tensors: dict[str, tuple[tuple[int, ...], str]]) -> tuple[ModuleInfo, ...]:
    buffers: dict[str, list[str]] = {}
    for name in tensors:
        if _is_buffer(name, tensors[name][1]):
            buffers.setdefault(parent(name), []).append(last(name))
    paths = dict.fromkeys(path for name in names for path in reversed(ancestors(parent(name))))
    return tuple(ModuleInfo(path, (), tuple(buffers.get(path, ()))) for path in paths)


def _natural(name: str) -> list[tuple[int, int, str]]:
    indexed = [(as_index(part), part) for part in name.split(".")]
    return [(1, 0, part) if index is None else (0, index, "") for index, part in indexed]


def read_header(path: Path, label: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the shape and the number format of each tensor in a .safetensors file; raises FP160."""
    from safetensors import safe_open

    try:
        open_regular(path).close()
        with safe_open(os.fspath(path), framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            return {
                name: (tuple(item.get_shape()), _dtype(item.get_dtype())) for name, item in slices.items()
            }
    except Exception as error:
        message = f"`{label}` is not a readable .safetensors file: {first_line(error)}"
        raise error_at_key(
            SOURCE, "FP160", message, help="name a .safetensors file or the model's folder"
        ) from None


def _dtype(name: str) -> str:
    return DTYPES.get(name, name.lower())
