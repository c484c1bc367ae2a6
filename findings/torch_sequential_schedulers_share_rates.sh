#!/usr/bin/env bash
# Library:   torch 2.13.0, torch.optim.lr_scheduler.SequentialLR
# Behaviour: schedulers that are put one after the other do not start from the optimizer's rate. OneCycleLR, made
#            as the second, rewrites the starting rate that the first one counts from, so the warm-up runs at a
#            25th of it. MultiplicativeLR as the second goes on from the last step of the warm-up, not its end.
# Seen:      lr 1.0, LinearLR from 0.1 to 1.0 in five steps, then the second scheduler:
#            OneCycleLR(max_lr=1.0)     0.004, 0.011, 0.018, 0.026, 0.033 | 0.04
#            MultiplicativeLR(0.9)      0.1, 0.28, 0.46, 0.64, 0.82 | 0.738, 0.664  (1.0 is never reached)
#            ExponentialLR(0.9)         0.1, 0.28, 0.46, 0.64, 0.82 | 1.0, 0.9
# Hurts:     the warm-up, or the whole run after it, has another rate than was written. Which one depends on the
#            class of the scheduler beside it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet numpy==2.4.6

venv/bin/python - <<'PY'
import sys
import warnings

import torch
from torch.optim.lr_scheduler import ExponentialLR, LinearLR, MultiplicativeLR, OneCycleLR, SequentialLR

warnings.simplefilter("ignore")
RECORDED = {
    "OneCycleLR": [0.004, 0.011, 0.018, 0.026, 0.033, 0.04],
    "MultiplicativeLR": [0.1, 0.28, 0.46, 0.64, 0.82, 0.738],
    "ExponentialLR": [0.1, 0.28, 0.46, 0.64, 0.82, 1.0],
}
SECOND = {
    "OneCycleLR": lambda optimizer: OneCycleLR(optimizer, max_lr=1.0, total_steps=10),
    "MultiplicativeLR": lambda optimizer: MultiplicativeLR(optimizer, lambda step: 0.9),
    "ExponentialLR": lambda optimizer: ExponentialLR(optimizer, 0.9),
}


def rates(second):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    warmup = LinearLR(optimizer, start_factor=0.1, total_iters=5)
    schedule, seen = SequentialLR(optimizer, [warmup, second(optimizer)], milestones=[5]), []
    for _ in range(6):
        seen.append(round(optimizer.param_groups[0]["lr"], 3))
        optimizer.step()
        schedule.step()
    return seen


seen = {name: rates(second) for name, second in SECOND.items()}
for name, numbers in seen.items():
    print(f"{name}: {numbers[:5]}, then {numbers[5:]}")
sys.exit(None if seen == RECORDED else "the behaviour has changed")
PY
