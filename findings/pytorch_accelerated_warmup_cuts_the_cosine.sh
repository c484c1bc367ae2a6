#!/usr/bin/env bash
# Library:   pytorch-accelerated 0.1.61, CosineLrScheduler, with accelerate 1.15.0 and torch 2.13.0
# Behaviour: total_num_epochs is said to include the epochs of warm-up. The cosine is stretched over what they leave,
#            but it is left as many updates before its end as the warm-up had, for the lowest rate at once.
# Seen:      ten epochs of ten updates, lr 1.0, lr_min 0. With two epochs of warm-up the rate is 0.1606 at update 79 and
#            0.0 from update 80 on, with four it falls from 0.7723 to 0.0 at update 60. With five the rate is 0.98 at
#            update 49 and 0.0 for the whole second half. Without warm-up it reaches 0.0002 at the last update
# Hurts:     the longer the warm-up, the more of the run is spent at the lowest rate, and the cosine is cut where it is
#            high. The epochs go on, the loss stands still, which looks like convergence.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    accelerate==1.15.0 huggingface_hub==2.4.0 numpy==2.4.6 safetensors==0.8.0 tqdm==4.70.1
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps pytorch-accelerated==0.1.61

venv/bin/python - <<'PY'
import sys

import torch
from pytorch_accelerated.schedulers import CosineLrScheduler


def last_rates(warmup):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    scheduler = CosineLrScheduler(
        optimizer,
        total_num_epochs=10,
        num_update_steps_per_epoch=10,
        num_warmup_epochs=warmup,
        warmup_starting_lr=0.0,
        lr_min=0.0,
    )
    rates = []
    for _ in range(100):
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    last = max(update for update, rate in enumerate(rates) if rate > 0)
    return last, round(rates[last], 4)


seen = {warmup: last_rates(warmup) for warmup in (0, 2, 4, 5)}
for warmup, (update, rate) in seen.items():
    print(f"{warmup} epochs of warm-up: {rate} at update {update}, 0.0 at the {99 - update} that follow")
recorded = [(99, 0.0002), (79, 0.1606), (59, 0.7723), (49, 0.98)]
sys.exit(None if list(seen.values()) == recorded else "the behaviour has changed")
PY
