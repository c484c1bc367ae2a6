#!/usr/bin/env bash
# Library:   ivon-opt 0.1.3, IVON, with torch 2.13.0
# Behaviour: a parameter with requires_grad=False is given a gradient of zeros and stepped like the others. It decays,
#            one that was trained before goes on by its momentum, and sampled_params puts noise on it.
# Seen:      two weights of 1.0, the second frozen, lr 0.1, weight_decay 0.01: after 100 steps it stands at 0.9047.
#            Frozen after 20 steps of training, without decay, it goes from -0.9886 to -1.7344 in 20 more. AdamW of
#            torch leaves it at 1.0, and where it was when it was frozen
# Hurts:     whoever hands over model.parameters() with a frozen backbone among them, which torch's optimizers skip, has
#            a backbone that shrinks and shakes. requires_grad says False all the time, and there is no gradient.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0 numpy==2.4.6
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps ivon-opt==0.1.3

venv/bin/python - <<'PY'
import sys

import torch
from ivon import IVON


def stepped(optimizer, weights, steps):
    for _ in range(steps):
        if isinstance(optimizer, IVON):
            with optimizer.sampled_params(train=True):
                optimizer.zero_grad()
                sum(weights).sum().backward()
        else:
            optimizer.zero_grad()
            sum(weights).sum().backward()
        optimizer.step()


def frozen_weight(make, trained, steps):
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    optimizer = make(weights)
    stepped(optimizer, weights, trained)
    weights[1].requires_grad = False
    start = weights[1].item()
    stepped(optimizer, weights, steps)
    return [round(start, 4), round(weights[1].item(), 4)]


def ivon(decay):
    return lambda weights: IVON(weights, lr=0.1, ess=1e6, weight_decay=decay)


def adamw(decay):
    return lambda weights: torch.optim.AdamW(weights, lr=0.1, weight_decay=decay)


seen = {
    "IVON, frozen from the start": frozen_weight(ivon(0.01), 0, 100),
    "IVON, frozen after 20 steps": frozen_weight(ivon(0.0), 20, 20),
    "AdamW, frozen from the start": frozen_weight(adamw(0.01), 0, 100),
    "AdamW, frozen after 20 steps": frozen_weight(adamw(0.0), 20, 20),
}
for name, (start, end) in seen.items():
    print(f"{name}: from {start} to {end}")
decayed, late, *others = seen.values()
same = decayed == [1.0, 0.9047] and late[1] < late[0] - 0.5 and all(start == end for start, end in others)
sys.exit(None if same else "the behaviour has changed")
PY
