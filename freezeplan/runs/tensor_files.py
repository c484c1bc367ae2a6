"""Files of tensors: written by safetensors, or, where no process holds a tensor whole, one tensor at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from freezeplan.apply.tensors import is_shared_out, own_copy, whole

# One entry only: safetensors writes several in an order that changes from run to run.
METADATA = {"format": "pt"}
# What safetensors calls a number format, in the order in which its writer lays tensors out.
FORMATS = {
    torch.uint64: "U64",
    torch.int64: "I64",
    torch.complex64: "C64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.uint32: "U32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint16: "U16",
    torch.int16: "I16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
ORDER = {kind: place for place, kind in enumerate(FORMATS)}


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors into a file of the safetensors format.

    Those that are shared out among processes are gathered one at a time: the other processes must call
    :func:`lend_tensors` with the same. The file has the bytes that the library's own writer gives it.
    """
    if not any(map(is_shared_out, tensors.values())):
        save_file({name: own_copy(tensor) for name, tensor in tensors.items()}, path, metadata=METADATA)
        return
    with path.open("wb") as file:
        file.write(_header(tensors))
        for name in _in_order(tensors):
            file.write(own_copy(tensors[name]).reshape(-1).view(torch.uint8).numpy().data)


def lend_tensors(tensors: Mapping[str, torch.Tensor]) -> None:
    """Take part in gathering what another process writes."""
    for name in _in_order(tensors):
        whole(tensors[name])


def read_tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of a file, one at a time."""
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118
            yield name, file.get_tensor(name)


def _in_order(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    return sorted(tensors, key=lambda name: (ORDER[tensors[name].dtype], name))


def _header(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Return the length of the header and the header. Source: safetensors, Format, 2022,
    https://github.com/huggingface/safetensors#format.
    """
    record: dict[str, object] = {"__metadata__": METADATA}
    end = 0
    for name in _in_order(tensors):
        kind, shape = tensors[name].dtype, list(tensors[name].shape)
        start, end = end, end + prod(shape) * kind.itemsize
        record[name] = {"dtype": FORMATS[kind], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
