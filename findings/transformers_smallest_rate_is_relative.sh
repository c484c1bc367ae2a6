#!/usr/bin/env bash
# Library:   transformers 5.23.0, get_scheduler, with torch 2.13.0
# Behaviour: min_lr of "cosine_with_min_lr" and lr_end of "polynomial" are divided by the optimizer's default rate and
#            then multiplied by each group's own. Where the groups bring their rates, the default is the one of the
#            optimizer's class (1e-3 for AdamW), which nobody chose.
# Seen:      AdamW, groups with lr 1e-4 and 1e-6, min_lr=1e-5: the rates end at 1e-6 and 1e-8
#            the same with AdamW(..., lr=1e-4): 1e-5 and 1e-7
# Hurts:     the floor that was set is not the floor. With layer-wise rates the lower layers end at a thousandth of
#            it, and an "lr" that no group uses changes the schedule of all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    huggingface_hub==2.4.0 numpy==2.4.6 tokenizers==0.23.3 transformers==5.23.0

venv/bin/python - <<'PY'
import sys

import torch
from transformers import get_scheduler


def last_rates(name, smallest, **default):
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    groups = [{"params": [w], "lr": lr} for w, lr in zip(weights, (1e-4, 1e-6))]
    optimizer = torch.optim.AdamW(groups, **default)
    options = {"num_warmup_steps": 2, "num_training_steps": 10, "scheduler_specific_kwargs": smallest}
    schedule = get_scheduler(name, optimizer, **options)
    for _ in range(10):
        optimizer.step()
        schedule.step()
    return [float(f"{group['lr']:.3g}") for group in optimizer.param_groups]


seen = {
    "cosine_with_min_lr": last_rates("cosine_with_min_lr", {"min_lr": 1e-5}),
    "cosine_with_min_lr, AdamW(..., lr=1e-4)": last_rates("cosine_with_min_lr", {"min_lr": 1e-5}, lr=1e-4),
    "polynomial": last_rates("polynomial", {"lr_end": 1e-5}),
}
for name, rates in seen.items():
    print(f"{name}: smallest rate 1e-05 asked for, rates at the end {rates}")
sys.exit(None if list(seen.values()) == [[1e-6, 1e-8], [1e-5, 1e-7], [1e-6, 1e-8]] else "the behaviour has changed")
PY
