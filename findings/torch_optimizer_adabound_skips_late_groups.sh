#!/usr/bin/env bash
# Library:   torch-optimizer 0.3.0, AdaBound, with torch 2.13.0
# Behaviour: the rates of the groups are listed once, at construction, and each step walks the groups and that list
#            side by side. A group that is added later has no entry and gets no step.
# Seen:      a group added after construction, ten steps: its weight stays at 1.0, the one of the first group goes to
#            0.9003. param_groups lists both, nothing is raised
# Hurts:     gradual unfreezing adds groups while training runs. The thawed layers cost gradients and memory and
#            never learn.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps \
    numpy==2.4.6 pytorch_ranger==0.1.1 torch-optimizer==0.3.0

venv/bin/python - <<'PY'
import sys

import torch
from torch_optimizer import AdaBound

first, late = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
optimizer = AdaBound([first], lr=0.01)
optimizer.add_param_group({"params": [late], "lr": 0.01})
for _ in range(10):
    optimizer.zero_grad()
    (first**2 + late**2).backward()
    optimizer.step()
print("groups:", len(optimizer.param_groups), "weights:", round(first.item(), 4), late.item())
same = len(optimizer.param_groups) == 2 and first.item() < 0.91 and late.item() == 1.0
sys.exit(None if same else "the behaviour has changed")
PY
