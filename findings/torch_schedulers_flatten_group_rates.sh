#!/usr/bin/env bash
# Library:   torch 2.13.0, torch.optim.lr_scheduler and torch.optim.swa_utils
# Behaviour: a rate that is given to a scheduler as one number holds for every parameter group, whatever "lr" the
#            group was made with. CyclicLR, OneCycleLR and SWALR overwrite the groups' rates with it; eta_min of
#            CosineAnnealingLR raises groups that lie below. OneCycleLR also replaces Adam's first beta.
# Seen:      groups with lr 1e-3 and 1e-5:
#            OneCycleLR(max_lr=1e-3)         4e-05 and 4e-05, betas (0.9, 0.999) -> (0.95, 0.999)
#            SWALR(swa_lr=1e-4)              1e-04 and 1e-04 after its annealing
#            CosineAnnealingLR(eta_min=1e-4) 1e-04 and 1e-04 at the end: ten times the second group's own rate
# Hurts:     pretrained layers that were given a hundredth of the head's rate train at the head's rate. The
#            scheduler takes the groups without a word, and the logged rate looks right.
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
from torch.optim.lr_scheduler import CosineAnnealingLR, CyclicLR, OneCycleLR
from torch.optim.swa_utils import SWALR

SCHEDULERS = {
    "OneCycleLR": lambda optimizer: OneCycleLR(optimizer, max_lr=1e-3, total_steps=10),
    "CyclicLR": lambda optimizer: CyclicLR(optimizer, base_lr=1e-4, max_lr=1e-3, cycle_momentum=False),
    "SWALR": lambda optimizer: SWALR(optimizer, swa_lr=1e-4, anneal_epochs=2),
    "CosineAnnealingLR": lambda optimizer: CosineAnnealingLR(optimizer, T_max=10, eta_min=1e-4),
}


def rates(scheduler, steps=10):
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    optimizer = torch.optim.AdamW([{"params": [w], "lr": lr} for w, lr in zip(weights, (1e-3, 1e-5))])
    schedule, seen, betas = scheduler(optimizer), [], optimizer.param_groups[0]["betas"]
    for _ in range(steps):
        seen.append([round(group["lr"], 9) for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return [*seen, [round(group["lr"], 9) for group in optimizer.param_groups]], betas


same = True
for name, scheduler in SCHEDULERS.items():
    seen, betas = rates(scheduler)
    print(f"{name}: first {seen[0]}, in the middle {seen[5]}, last {seen[-1]}; betas {betas}")
    same &= seen[-1][0] == seen[-1][1] and betas[0] == (0.95 if name == "OneCycleLR" else 0.9)
sys.exit(None if same else "the behaviour has changed")
PY
