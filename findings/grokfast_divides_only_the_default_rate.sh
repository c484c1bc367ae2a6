#!/usr/bin/env bash
# Library:   grokfast-pytorch 0.0.11, GrokFastAdamW, with torch 2.13.0
# Behaviour: normalize_lr divides the rate by 1 + grokfast_lamb, to make up for the gradients that are amplified. It is
#            the argument lr that is divided. A group with a rate of its own keeps it, and its decay is multiplied.
# Seen:      lr 0.01, two groups, the second with "lr": 0.01 too, gradients of 1: param_groups have 0.003333 and 0.01,
#            and ten steps go 0.0333 and 0.1 far. With weight_decay 0.01 and no gradient, one step leaves 0.99 and 0.97
# Hurts:     of the groups for head and backbone, one with a rate of its own is trained three times as fast as one that
#            takes the default, where the same number is written in both places.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0 numpy==2.4.6
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps grokfast-pytorch==0.0.11

venv/bin/python - <<'PY'
import sys

import torch
from grokfast_pytorch import GrokFastAdamW


def ways(gradient, steps, **options):
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    optimizer = GrokFastAdamW([{"params": [weights[0]]}, {"params": [weights[1]], "lr": 0.01}], lr=0.01, **options)
    for _ in range(steps):
        for weight in weights:
            weight.grad = torch.full((1,), gradient)
        optimizer.step()
    rates = [round(group["lr"], 6) for group in optimizer.param_groups]
    return rates, [round(1 - weight.item(), 4) for weight in weights]


seen = {
    "ten steps": ways(1.0, 10),
    "ten steps, normalize_lr=False": ways(1.0, 10, normalize_lr=False),
    "one step of decay": ways(0.0, 1, weight_decay=0.01),
}
for name, (rates, moved) in seen.items():
    print(f"{name}: rates {rates}, moved by {moved}")
recorded = [
    ([0.003333, 0.01], [0.0333, 0.1]),
    ([0.01, 0.01], [0.1, 0.1]),
    ([0.003333, 0.01], [0.01, 0.03]),
]
sys.exit(None if list(seen.values()) == recorded else "the behaviour has changed")
PY
