"""What of a config nobody reads is named in the spec, or refused where it may change what trains."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from freezeplan.diagnostics import DiagnosticError
from freezeplan.importing.config_file import read_config
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.translating import Imported, peer_of, translate
from freezeplan.inventory.from_module import inventory_of


@pytest.fixture(scope="module")
def model() -> ModelNames:
    with torch.device("meta"):
        layers = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 2))
    return ModelNames(inventory_of(layers, "layers"), config={"num_hidden_layers": 3})


def imported(tmp_path: Path, name: str, text: str, model: ModelNames, lr: float | None = None) -> Imported:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    config = read_config(path)
    return translate(config, peer_of(config), model, {"source": "m"}, tmp_path / "s.toml", meant=False, lr=lr)


WRAPPER = "optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))\n"
TRAINER = '"trainer": {"optimizer": {"type": "adamw", "lr": 1e-3}}'
HUGGING = '"learning_rate": 1e-3, "max_steps": 1'
CHANGES = {
    "stages": (
        "c.py",
        f"{WRAPPER}model = dict(backbone=dict(frozen_stages=4))\n",
        "model.backbone.frozen_stages",
    ),
    "the stem": (
        "c.py",
        f"{WRAPPER}model = dict(backbone=dict(frozen_stages=0))\n",
        "model.backbone.frozen_stages",
    ),
    "statistics": (
        "c.py",
        f"{WRAPPER}model = dict(backbone=dict(norm_eval=True))\n",
        "model.backbone.norm_eval",
    ),
    "norms": (
        "c.py",
        f"{WRAPPER}cfg = dict(requires_grad=False)\nmodel = dict(norm_cfg=cfg)\n",
        "model.norm_cfg.requires_grad",
    ),
    "a part": ("c.py", f"{WRAPPER}model = dict(freeze_vit=True)\n", "model.freeze_vit"),
    "what a hook freezes": (
        "c.py",
        f"{WRAPPER}custom_hooks = [dict(type='SwAVHook', frozen_layers_cfg=dict(prototypes=5))]\n",
        "custom_hooks[1].frozen_layers_cfg.prototypes",
    ),
    "a hook": ("c.py", f"{WRAPPER}custom_hooks = [dict(type='UnfreezeHook')]\n", "custom_hooks[1].type"),
    "an embedder": (
        "c.json",
        f'{{{TRAINER}, "model": {{"embedder": {{"train_parameters": false}}}}}}',
        "model.embedder.train_parameters",
    ),
    "tensors": ("c.json", f'{{{TRAINER}, "model": {{"trainable": false}}}}', "model.trainable"),
    "a backbone": ("c.json", f'{{{HUGGING}, "freeze_backbone": true}}', "freeze_backbone"),
    "another rate": ("c.json", f'{{{HUGGING}, "head_lr": 0.1}}', "head_lr"),
    "decay by layer": ("c.json", f'{{{HUGGING}, "layerDecay": 0.9}}', "layerDecay"),
    "what DeepSpeed is told": (
        "c.json",
        f'{{{HUGGING}, "deepspeed": {{"optimizer": {{"params": {{"lr": 3e-4}}}}}}}}',
        "deepspeed.optimizer.params.lr",
    ),
    "Megatron's rate": ("c.sh", "megatron sft --tuner_type full --lr 1e-5\n", "lr"),
    "an encoder": ("c.yaml", "freeze_config: {}\nmodel: {freeze_router: true}\n", "model.freeze_router"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_setting_that_may_change_what_trains_is_refused_by_its_name(
    tmp_path: Path, model: ModelNames, what: str
) -> None:
    name, text, key = CHANGES[what]
    with pytest.raises(DiagnosticError) as refused:
        imported(tmp_path, name, text, model)
    (found,) = refused.value.diagnostics
    assert (found.code, found.message.startswith(f"`{key}` cannot")) == ("FP193", True), found.message
    assert found.span is not None


HARMLESS = {
    "off": ("c.py", f"{WRAPPER}model = dict(backbone=dict(frozen_stages=-1, norm_eval=False))\n"),
    "on, as without it": ("c.json", f'{{{TRAINER}, "model": {{"trainable": true, "freeze": false}}}}'),
    "a schedule": ("c.json", f'{{{HUGGING}, "lr_scheduler_kwargs": {{"min_lr": 1e-6}}, "min_lr": 0.1}}'),
    "another model": ("c.yaml", "freeze_config: {}\nteacher_freeze_config: {freeze_vision_tower: true}\n"),
    "what it takes as given": ("c.json", f'{{{HUGGING}, "deepspeed": {{"optimizer": {{"lr": "auto"}}}}}}'),
}


@pytest.mark.parametrize("what", HARMLESS)
def test_one_that_does_not_is_named_at_the_top(tmp_path: Path, model: ModelNames, what: str) -> None:
    name, text = HARMLESS[what]
    assert "\n# Not in this spec: " in imported(tmp_path, name, text, model).text


def test_a_table_of_which_nothing_is_read_is_named_once(tmp_path: Path, model: ModelNames) -> None:
    text = f"{WRAPPER}model = dict(a=1, b=dict(c=2))\noptim_wrapper.update(clip_grad=dict(max_norm=1))\n"
    done = imported(tmp_path, "c.py", f"{text}x = [dict(y=1)]\n", model)
    assert "\n# Not in this spec: optim_wrapper.clip_grad, model, x.\n" in done.text


def test_a_rate_that_the_config_leaves_to_the_batch_size_can_be_given(
    tmp_path: Path, model: ModelNames
) -> None:
    text = "opt: adamw\nlr: null\nlr_base: 0.1\nsched: cosine\n"
    with pytest.raises(DiagnosticError, match="pass --lr"):
        imported(tmp_path, "args.yaml", text, model)
    assert imported(tmp_path, "args.yaml", text, model, lr=0.2).plan.optimizers[0].lr == 0.2


def test_what_a_base_says_is_named_with_its_file(tmp_path: Path, model: ModelNames) -> None:
    keys = "paramwise_cfg=dict(custom_keys={'1.': dict(lr_mult=0.5)})"
    (tmp_path / "base.py").write_text(f"\noptim_wrapper = dict(optimizer=dict(lr=0.1), {keys})\n", "utf-8")
    text = imported(tmp_path, "c.py", "_base_ = 'base.py'\n", model).text
    assert "\n# base.py:2: custom_keys: '1.'\n[[rule]]" in text
