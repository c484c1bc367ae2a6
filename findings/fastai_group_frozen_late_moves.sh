#!/usr/bin/env bash
# Library:   fastai 2.8.12, fastai.optimizer, with torch 2.13.0
# Behaviour: step() takes every parameter that has a gradient. zero_grad() fills gradients with zeros and keeps them,
#            and freeze_to() only sets requires_grad, so what was trained before it was frozen goes on by its momentum
#            and its weight decay. clear_state(), which Learner.freeze_to calls behind it, ends the momentum, not the
#            decay.
# Seen:      two weights of 1 with a gradient of 1, lr 0.1, three steps; then freeze_to(1) and ten more. The frozen one
#            goes with Adam from 0.7 to 0.2207, with SGD(mom=0.9) from 0.439 to -1.1496. With clear_state() and wd=0.1
#            it decays from 0.6733 to 0.6089. OptimWrapper over AdamW or SGD of torch leaves it where it was.
# Hurts:     a callback that freezes layers in the middle of fit(). They say requires_grad=False, get no gradient, and
#            move on all the same, away from the weights that were to be kept.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    fastcore==2.2.41 fastprogress==1.1.6 fasttransform==0.0.5 matplotlib==3.11.2 numpy==2.4.6 pandas==3.1.1 \
    pillow==13.0.0 plum-dispatch==2.9.0 pyyaml==6.0.3 requests==2.34.2 scipy==1.17.1
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps fastai==2.8.12

venv/bin/python - <<'PY' 2> stderr.txt || { cat stderr.txt >&2; exit 1; }
import sys

import torch
from fastai.optimizer import SGD, Adam, OptimWrapper


def frozen_weight(make, cleared=False):
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    optimizer = make([[weight] for weight in weights])
    seen = []
    for steps in (3, 10):
        for _ in range(steps):
            sum(weights).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        seen.append(round(weights[0].item(), 4))
        optimizer.freeze_to(1)
        if cleared:
            optimizer.clear_state()
    assert [weight.requires_grad for weight in weights] == [False, True]
    return seen


seen = {
    "Adam": frozen_weight(lambda groups: Adam(groups, lr=0.1, wd=0.0)),
    "SGD": frozen_weight(lambda groups: SGD(groups, lr=0.1, mom=0.9)),
    "Adam with decay, cleared": frozen_weight(lambda groups: Adam(groups, lr=0.1, wd=0.1), cleared=True),
    "AdamW of torch": frozen_weight(lambda groups: OptimWrapper(groups, torch.optim.AdamW, lr=0.1)),
    "SGD of torch": frozen_weight(lambda groups: OptimWrapper(groups, torch.optim.SGD, lr=0.1, momentum=0.9)),
}
for name, (frozen, later) in seen.items():
    print(f"{name}: frozen at {frozen}, ten steps later at {later}")
recorded = [[0.7, 0.2207], [0.439, -1.1496], [0.6733, 0.6089], [0.6973, 0.6973], [0.439, 0.439]]
sys.exit(None if list(seen.values()) == recorded else "the behaviour has changed")
PY
