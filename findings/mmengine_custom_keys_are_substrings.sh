#!/usr/bin/env bash
# Library:   mmengine-lite 0.10.7, DefaultOptimWrapperConstructor, with torch 2.13.0
# Behaviour: a key of paramwise_cfg["custom_keys"] holds for every parameter whose name contains it anywhere. A layer's
#            number matches every number that starts with it, and a short name matches inside longer ones.
# Seen:      {"blocks.1": lr_mult 0, "head": lr_mult 10}, twelve blocks: blocks 1, 10 and 11 stand still, and
#            "overhead" trains at ten times the rate
# Hurts:     rules that were tried on a model of six layers freeze or speed up other layers in one of twelve. A full
#            stop behind the number ("blocks.1.") is needed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet mmengine-lite==0.10.7 numpy==2.4.6 packaging==26.3

venv/bin/python - <<'PY'
import logging
import sys

import torch
from mmengine.optim import build_optim_wrapper


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(2, 2, bias=False) for _ in range(12))
        self.head, self.overhead = torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2, bias=False)


model = Model()
logging.disable(logging.INFO)
keys = {"blocks.1": {"lr_mult": 0.0}, "head": {"lr_mult": 10.0}}
config = {"optimizer": {"type": "AdamW", "lr": 1.0}, "paramwise_cfg": {"custom_keys": keys}}
optimizer = build_optim_wrapper(model, config).optimizer
names = {id(p): name for name, p in model.named_parameters()}
rates = {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}
seen = {rate: [name for name, lr in rates.items() if lr == rate] for rate in (0.0, 10.0)}
print("names by rate:", seen)
recorded = {
    0.0: ["blocks.1.weight", "blocks.10.weight", "blocks.11.weight"],
    10.0: ["head.weight", "overhead.weight"],
}
sys.exit(None if seen == recorded else "the behaviour has changed")
PY
