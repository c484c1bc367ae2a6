"""What the names in a .safetensors file alone tell."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.header import header_inventory
from freezeplan.models.sources import inventory_for
from tests.models.sources import saved, spec_of, tiny

CLASSES = [
    ("bert", "AutoModel"),
    ("bert", "AutoModelForSequenceClassification"),
    ("distilbert", "AutoModel"),
    ("distilbert", "AutoModelForSequenceClassification"),
]


@pytest.mark.parametrize("key", CLASSES, ids="/".join)
def test_names_tell_what_the_live_model_tells(key: tuple[str, str], tmp_path: Path) -> None:
    model = tiny(*key)
    live = inventory_of(model)
    weak = inventory_for(spec_of({"source": str(saved(tmp_path, model) / "model.safetensors")}))
    assert weak.weak
    assert weak.notes
    assert {info.name: (info.shape, info.dtype, info.roles, info.layer) for info in weak.params} == {
        info.name: (info.shape, info.dtype, info.roles, info.layer) for info in live.tensors
    }
    assert weak.base == live.base
    assert [(stack.path, stack.layers) for stack in weak.stacks] == [
        (stack.path, stack.layers) for stack in live.stacks
    ]


def test_layers_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    names = [f"layer.{index}.dense.weight" for index in (10, 2, 1, 0, 3, 4, 5, 6, 7, 8, 9)]
    save_file({name: torch.zeros(2, 2) for name in names}, tmp_path / "m.safetensors")
    inventory = header_inventory(tmp_path / "m.safetensors", "m")
    assert [info.layer for info in inventory.params] == list(range(11))


def test_statistics_are_buffers(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    state = torch.nn.Sequential(torch.nn.BatchNorm1d(3)).state_dict()
    save_file(state, tmp_path / "m.safetensors")
    inventory = header_inventory(tmp_path / "m.safetensors", "m")
    assert [info.name for info in inventory.params] == ["0.bias", "0.weight"]
    assert set(inventory.modules[-1].buffers) == {"running_mean", "running_var", "num_batches_tracked"}


@pytest.mark.parametrize(
    "content",
    [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}", b"PK\x03\x04pickle"],
)
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(DiagnosticError) as caught:
        header_inventory(tmp_path / "m.safetensors", "m")
    assert caught.value.diagnostics[0].code in ("FP160", "FP166")


def test_a_file_with_an_architecture_is_a_whole_model(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    model = {"source": str(folder / "model.safetensors"), "architecture": str(folder / "config.json")}
    inventory = inventory_for(spec_of(model))
    assert not inventory.weak
    assert inventory.role_nodes["pooler"] == ("pooler",)


@pytest.mark.parametrize("name", ["9" * 5000 + ".weight", "a." * 20_000 + "weight"], ids=["digits", "dots"])
def test_a_name_that_no_module_has_is_refused(name: str, tmp_path: Path) -> None:
    save_file({name: torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(DiagnosticError, match="FP160.*that is no module's name"):
        header_inventory(tmp_path / "model.safetensors", "m")


def test_a_number_of_many_digits_is_a_name_like_any_other() -> None:
    digits = "9" * 5000
    found = inventory_of(torch.nn.ModuleDict({digits: torch.nn.Linear(2, 2)}))
    assert [info.name for info in found.params] == [f"{digits}.weight", f"{digits}.bias"]


def test_running_statistics_tell_a_norm_and_buffers_are_no_weights(tmp_path: Path) -> None:
    zeros = torch.zeros
    tensors = {"conv.weight": zeros(2, 1, 3, 3), "bn1.weight": zeros(2), "bn1.bias": zeros(2)}
    tensors |= {"bn1.running_mean": zeros(2), "bn1.running_var": zeros(2)}
    tensors |= {"causal_mask": zeros(2, 2, dtype=torch.bool), "steps": zeros((), dtype=torch.int64)}
    save_file(tensors, tmp_path / "model.safetensors")
    found = header_inventory(tmp_path / "model.safetensors", "m")
    assert [info.name for info in found.params] == ["bn1.bias", "bn1.weight", "conv.weight"]
    assert found.role_nodes["norm"] == ("bn1",)
