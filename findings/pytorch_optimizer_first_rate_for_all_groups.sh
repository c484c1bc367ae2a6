#!/usr/bin/env bash
# Library:   pytorch-optimizer 4.1.0, Prodigy and the DAdapt family, with torch 2.13.0
# Behaviour: the rate of the first group is the rate of all. Other rates are taken without an error (prodigyopt, where
#            the method comes from, raises one) and have no effect, not even the rate 0.
# Seen:      two equal weights, lr 1.0 and a group with lr 0, ten steps of Prodigy, DAdaptAdam, DAdaptAdan, DAdaptLion,
#            DAdaptSGD and DAdaptAdaGrad: both weights move by the same, with each of the six
# Hurts:     head and backbone train alike whatever the plan says, and layers held by the rate 0 are changed. The
#            groups, and every log of their rates, show what was asked for.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps numpy==2.4.6 pytorch-optimizer==4.1.0

venv/bin/python - <<'PY'
import sys

import pytorch_optimizer
import torch

seen = {}
for name in ("Prodigy", "DAdaptAdam", "DAdaptAdan", "DAdaptLion", "DAdaptSGD", "DAdaptAdaGrad"):
    fast, still = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizer = getattr(pytorch_optimizer, name)([{"params": [fast]}, {"params": [still], "lr": 0.0}], lr=1.0)
    for _ in range(10):
        optimizer.zero_grad()
        (fast**2 + still**2).backward()
        optimizer.step()
    seen[name] = [1 - fast.item(), 1 - still.item()]
    print(f"{name}: lr 1.0 moved by {seen[name][0]:.7f}, lr 0.0 by {seen[name][1]:.7f}")
same = all(fast == still > 0 for fast, still in seen.values())
sys.exit(None if same else "the behaviour has changed")
PY
