#!/usr/bin/env bash
# Library:   torch 2.13.0, torch.optim.lr_scheduler.ReduceLROnPlateau
# Behaviour: a group is only reduced where that changes its rate by more than eps, an absolute 1e-8. Groups with
#            smaller rates are never reduced, while the others are.
# Seen:      groups with lr 1e-4 and 9e-9, four bad epochs, factor 0.1: 1e-07 and 9e-09
# Hurts:     layer-wise decay (0.65 per layer over 24 layers from 1e-4 is 3e-9) puts the lowest layers there:
#            on every plateau the rates of the head fall towards theirs, and the ratios that were written are gone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet numpy==2.4.6

venv/bin/python - <<'PY'
import sys

import torch

weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
optimizer = torch.optim.SGD([{"params": [w], "lr": lr} for w, lr in zip(weights, (1e-4, 9e-9))])
schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=0)
for _ in range(4):
    schedule.step(1.0)
seen = [float(f"{group['lr']:.3g}") for group in optimizer.param_groups]
print("rates 1e-4 and 9e-9 after three reductions:", seen)
sys.exit(None if seen == [1e-7, 9e-9] else "the behaviour has changed")
PY
