#!/usr/bin/env bash
# Library:   prodigyopt 1.1.2, Prodigy, with torch 2.13.0
# Behaviour: a group may have the rate 0 (any other rate of its own is an error), but the rate is only looked at where
#            gradients are collected. The step itself, and the weight decay, use the largest rate of all groups.
# Seen:      a group with lr 0, five steps: weight decay 0.1 takes its weights from 1.0 to 0.9794, betas[0]=0 takes
#            them to about 2e+35. A group whose rate is set to 0 after four steps goes on from 1.38 to 11.91 in four
#            more, past its optimum 3.0, on the momentum that it had.
# Hurts:     a backbone that is held still by the rate 0, as the error message offers, shrinks, drifts off or is lost.
#            requires_grad=False keeps it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps numpy==2.4.6 prodigyopt==1.1.2

venv/bin/python - <<'PY'
import sys

import torch
from prodigyopt import Prodigy


def still_weight(steps, zero_from, **options):
    moving, still = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = Prodigy([{"params": [moving]}, {"params": [still]}], d0=1e-2, **options)
    before = 1.0
    for step in range(steps):
        if step == zero_from:
            optimizer.param_groups[1]["lr"], before = 0.0, still[0].item()
        optimizer.zero_grad()
        sum(((weight - 3) ** 2).sum() for weight in (moving, still)).backward()
        optimizer.step()
    return round(before, 4), round(still[0].item(), 4)


decayed = still_weight(5, 0, weight_decay=0.1)
blown_up = still_weight(5, 0, betas=(0.0, 0.999))
later = still_weight(8, 4)
print("rate 0 with weight decay:", *decayed)
print("rate 0 without momentum:", *blown_up)
print("rate 0 after four steps:", *later)
same = decayed == (1.0, 0.9794) and blown_up[1] > 1e30 and later[0] < 1.5 and later[1] > 10
sys.exit(None if same else "the behaviour has changed")
PY
