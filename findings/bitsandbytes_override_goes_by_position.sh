#!/usr/bin/env bash
# Library:   bitsandbytes 0.50.2, GlobalOptimManager, with torch 2.13.0
# Behaviour: register_module_override gives one weight options of its own (bits, rate, decay). They are noted under the
#            weight and under its place, the numbers of its group and within the group, and the place alone is enough:
#            whatever stands there in any optimizer made later in the process has them too.
# Seen:      an embedding with the rate 0, AdamW at 0.1: it stands still, the layer moves by 0.1. A second model that
#            nobody named to the manager: its embedding stands still as well; with its weights handed to the optimizer
#            in the other order its layer does, and the embedding moves.
# Hurts:     the next fold, trial or phase of the same process freezes a weight, or trains it at another rate or in
#            other bits, by where it happens to stand. The groups show the rate that was asked for.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet bitsandbytes==0.50.2 numpy==2.4.6

CUDA_VISIBLE_DEVICES= venv/bin/python - <<'PY' 2> stderr.txt || { cat stderr.txt >&2; exit 1; }
import sys

import torch
from bitsandbytes.optim import AdamW, GlobalOptimManager


def made():
    return torch.nn.ModuleDict({"embedding": torch.nn.Embedding(4, 4), "layer": torch.nn.Linear(4, 4, bias=False)})


def moved(model, weights):
    optimizer = AdamW(weights, lr=0.1, weight_decay=0.0)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    found = {name: round((before[name] - weight).mean().item(), 3) for name, weight in model.named_parameters()}
    return {**found, "rates of the groups": sorted({group["lr"] for group in optimizer.param_groups})}


first, second, third = made(), made(), made()
GlobalOptimManager.get_instance().register_module_override(first["embedding"], "weight", {"lr": 0.0})
seen = {
    "first model": moved(first, first.parameters()),
    "second model": moved(second, second.parameters()),
    "third model, layer first": moved(third, reversed(list(third.parameters()))),
}
for name, weights in seen.items():
    print(f"{name}, moved by: {weights}")
rates = {"rates of the groups": [0.1]}
held = {"embedding.weight": 0.0, "layer.weight": 0.1, **rates}
other = {"embedding.weight": 0.1, "layer.weight": 0.0, **rates}
sys.exit(None if list(seen.values()) == [held, held, other] else "the behaviour has changed")
PY
