"""timm's command line against timm's own optimizer groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from freezeplan.importing.config_file import read_config
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.translating import Imported, peer_of, translate
from freezeplan.inventory.from_module import inventory_of
from tests.apply.timm_groups import param_groups_layer_decay

grouped_by_timm = param_groups_layer_decay()


class Small(nn.Module):
    """A model that groups its tensors as timm's models do."""

    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, 2, 4))
        self.patch_embed = nn.Linear(3, 4)
        self.blocks = nn.Sequential(*(nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4)) for _ in range(4)))
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 2)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        return {
            "stem": r"^pos_embed|^patch_embed",
            "blocks": [(r"^blocks\.(\d+)", None), (r"^norm", (99999,))],
        }

    def no_weight_decay(self) -> set[str]:
        return {"pos_embed"}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.blocks(self.patch_embed(x) + self.pos_embed)))


def imported(tmp_path: Path, name: str, text: str) -> Imported:
    (tmp_path / name).write_text(text)
    config = read_config(tmp_path / name)
    names = ModelNames(inventory_of(Small(), "small"))
    return translate(config, peer_of(config), names, {"source": "timm:small"}, tmp_path / "s.toml")


def numbers(done: Imported) -> dict[str, tuple[float, float]]:
    pairs = zip(done.plan.params, done.plan.phases[0].assignments, strict=True)
    return {param.name: (what.lr, what.weight_decay) for param, what in pairs}


@pytest.mark.skipif(grouped_by_timm is None, reason="timm is not installed")
@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        (
            "args.yaml",
            "opt: adamw\nsched: cosine\nlr: 5.0e-4\nweight_decay: 0.05\nlayer_decay: 0.65\n",
            {"layer_decay": 0.65},
        ),
        (
            "train.sh",
            "./train.py --opt=adamw --lr=5e-4 --weight-decay=0.05 --layer-decay=0.5 --layer-decay-min-scale=0.1\n",
            {"layer_decay": 0.5, "min_scale": 0.1},
        ),
    ],
)
def test_rates_and_decays_are_those_of_timm(tmp_path: Path, name: str, text: str, options: dict) -> None:
    model = Small()
    own = {id(tensor): name for name, tensor in model.named_parameters()}
    groups = grouped_by_timm(model, 0.05, model.no_weight_decay(), **options)
    wanted = {
        own[id(tensor)]: (5e-4 * group["lr_scale"], group["weight_decay"])
        for group in groups
        for tensor in group["params"]
    }
    found = numbers(imported(tmp_path, name, text))
    assert found == {name: pytest.approx(pair, rel=1e-12) for name, pair in wanted.items()}


def test_without_layer_decay_one_rate_and_no_decay_of_vectors(tmp_path: Path) -> None:
    text = "./train.py --model small --opt adamw --lr 5e-4 --weight-decay .05 --drop-path 0.1\n"
    for name, (rate, decay) in numbers(imported(tmp_path, "train.sh", text)).items():
        is_exempt = name.endswith("bias") or "norm" in name or name == "pos_embed" or ".0.weight" in name
        assert (rate, decay) == (5e-4, 0.0 if is_exempt else 0.05), name
