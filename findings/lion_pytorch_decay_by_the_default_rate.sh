#!/usr/bin/env bash
# Library:   lion-pytorch 0.2.5, Lion(decoupled_weight_decay=True), with torch 2.13.0
# Behaviour: decay that does not depend on the rate is made by dividing weight_decay by the rate that the optimizer was
#            made with, once for all groups. That is the argument lr, 1e-4 if there is none, also where every group
#            has a rate of its own.
# Seen:      weight_decay=0.1 and gradients of zero, one step from 1.0: without decoupling a group with lr 1e-3 goes to
#            0.9999, decoupled to 0.0, and a group with lr 1e-2 to -9.0. With lr=1e-2 given too: 0.99 and 0.9.
# Hurts:     discriminative rates are given by groups. A head at a hundred times the default is blown up, a layer far
#            below it is hardly decayed, and adding lr, which no group uses, changes both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0 numpy==2.4.6
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps lion-pytorch==0.2.5

venv/bin/python - <<'PY'
import sys

import torch
from lion_pytorch import Lion


def decayed(**options):
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    groups = [{"params": [weight], "lr": rate} for weight, rate in zip(weights, (1e-3, 1e-2), strict=True)]
    optimizer = Lion(groups, weight_decay=0.1, **options)
    for weight in weights:
        weight.grad = torch.zeros(1)
    optimizer.step()
    return [round(weight.item(), 4) for weight in weights]


seen = {
    "coupled": decayed(),
    "decoupled": decayed(decoupled_weight_decay=True),
    "decoupled, lr=1e-2": decayed(decoupled_weight_decay=True, lr=1e-2),
}
for name, weights in seen.items():
    print(f"{name}: {weights}")
same = list(seen.values()) == [[0.9999, 0.999], [0.0, -9.0], [0.99, 0.9]]
sys.exit(None if same else "the behaviour has changed")
PY
