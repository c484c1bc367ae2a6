#!/usr/bin/env bash
# Library:   torch-optimizer 0.3.0, RAdam, with torch 2.13.0
# Behaviour: the step size of each step is kept in a table, the learning rate with it, and all groups share one table
#            unless their betas differ. The first group fills it, the others use its rate.
# Seen:      two equal weights, lr 0.1 and a group with lr 0.0001, ten steps: both go from 1.0 to 0.1875. With betas of
#            its own the slow group stands at 0.999
# Hurts:     rates by layer or for head and backbone have no effect, without a word; so has the rate 0. Which group
#            counts is a matter of order.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps \
    numpy==2.4.6 pytorch_ranger==0.1.1 torch-optimizer==0.3.0

venv/bin/python - <<'PY'
import sys

import torch
from torch_optimizer import RAdam


def weights(**own):
    fast, slow = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizer = RAdam([{"params": [fast]}, {"params": [slow], "lr": 0.0001, **own}], lr=0.1)
    for _ in range(10):
        optimizer.zero_grad()
        (fast**2 + slow**2).backward()
        optimizer.step()
    return [round(weight.item(), 4) for weight in (fast, slow)]


seen = {"one pair of betas": weights(), "betas of its own": weights(betas=(0.9, 0.9991))}
for case, pair in seen.items():
    print(f"{case}: lr 0.1 gives {pair[0]}, lr 0.0001 gives {pair[1]}")
same = list(seen.values()) == [[0.1875, 0.1875], [0.1875, 0.999]]
sys.exit(None if same else "the behaviour has changed")
PY
