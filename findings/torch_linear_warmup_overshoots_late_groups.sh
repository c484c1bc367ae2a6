#!/usr/bin/env bash
# Library:   torch 2.13.0, torch.optim.lr_scheduler.LinearLR and LambdaLR
# Behaviour: LinearLR multiplies the rate that a group has now. A group that joins the optimizer during the
#            warm-up, at its full rate, is multiplied by the rest of the warm-up and ends above that rate, for
#            good. LambdaLR, which most warm-ups are made of, fails at its next step instead.
# Seen:      LinearLR(total_iters=5), a second group with lr 1.0 after three steps: 1.18, 1.36, 1.36, 1.36
#            LambdaLR: ValueError, zip() argument 2 is shorter than argument 1
# Hurts:     gradual unfreezing adds groups while training runs. The newly thawed pretrained layers get a third
#            more than the rate that was written for them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet numpy==2.4.6

venv/bin/python - <<'PY'
import sys

import torch
from torch.optim.lr_scheduler import LambdaLR, LinearLR


def late_rates(scheduler):
    first, late = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizer = torch.optim.SGD([first], lr=1.0)
    schedule, seen = scheduler(optimizer), []
    for step in range(7):
        if step == 3:
            optimizer.add_param_group({"params": [late], "lr": 1.0})
        optimizer.step()
        schedule.step()
        if step >= 3:
            seen.append(round(optimizer.param_groups[1]["lr"], 2))
    return seen


linear = late_rates(lambda optimizer: LinearLR(optimizer, total_iters=5))
print("LinearLR, the late group:", linear)
try:
    message = str(late_rates(lambda optimizer: LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 6))))
except ValueError as error:
    message = f"ValueError, {error}"
print("LambdaLR:", message)
same = linear == [1.18, 1.36, 1.36, 1.36] and message.startswith("ValueError")
sys.exit(None if same else "the behaviour has changed")
PY
