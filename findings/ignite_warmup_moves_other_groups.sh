#!/usr/bin/env bash
# Library:   pytorch-ignite 0.5.5, create_lr_scheduler_with_warmup, with torch 2.13.0
# Behaviour: a scheduler for one group of parameters, param_group_index, gets a warm-up of all groups. The others are
#            left where the warm-up ends, one step short of their own rate, or of warmup_end_value.
# Seen:      groups with lr 1.0 and 0.1, a linear decay of the second, a warm-up of four steps from 0. The second goes
#            to 0.1 and down. The first goes from 0 to 0.6667 and stays there; with warmup_end_value=0.1 it stays at
#            0.0667, and without a warm-up at 1.0
# Hurts:     a head that was to be trained at a constant rate beside a scheduled backbone is trained at a share of it,
#            two thirds or a fifteenth here, to the end of the run.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0 numpy==2.4.6 packaging==26.3
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps pytorch-ignite==0.5.5

venv/bin/python - <<'PY'
import sys

import torch
from ignite.handlers import LinearCyclicalScheduler, create_lr_scheduler_with_warmup


def rates(warmup):
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for lr in (1.0, 0.1)]
    optimizer = torch.optim.SGD(groups)
    scheduler = LinearCyclicalScheduler(optimizer, "lr", 0.1, 0.0, cycle_size=20, param_group_index=1)
    if warmup is not None:
        scheduler = create_lr_scheduler_with_warmup(scheduler, warmup_start_value=0.0, warmup_duration=4, **warmup)
    seen = []
    for _ in range(8):
        scheduler(None)
        seen.append([round(group["lr"], 4) for group in optimizer.param_groups])
    return [list(group) for group in zip(*seen, strict=True)]


seen = {
    "no warm-up": rates(None),
    "warm-up": rates({}),
    "warm-up, warmup_end_value=0.1": rates({"warmup_end_value": 0.1}),
}
for name, (other, scheduled) in seen.items():
    print(f"{name}: the scheduled group {scheduled}, the other {other}")
others = [group[-4:] for group, _ in seen.values()]
same = others == [[1.0] * 4, [0.6667] * 4, [0.0667] * 4] and seen["warm-up"][1][:4] == [0.0, 0.0333, 0.0667, 0.1]
sys.exit(None if same else "the behaviour has changed")
PY
