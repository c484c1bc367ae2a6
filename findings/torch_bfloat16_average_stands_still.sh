#!/usr/bin/env bash
# Library:   torch 2.13.0, torch.optim.swa_utils.AveragedModel
# Behaviour: the averages are kept in the type of the model. In bfloat16 the usual step of an exponential moving
#            average (0.001 of the difference) is smaller than half the distance to the next number, so the average
#            keeps its first value forever.
# Seen:      weights go from 1.0 to 2.0, decay 0.999, 5,000 updates: 1.0 in bfloat16, 1.993 in float32
# Hurts:     the averaged model of a bfloat16 fine-tuning run is the pretrained model. Its scores look like
#            those of a run that learned nothing, and no number is missing or infinite.
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
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def average(dtype):
    model = torch.nn.Linear(2, 2, bias=False).to(dtype)
    model.weight.data.fill_(1.0)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
    averaged.update_parameters(model)
    model.weight.data.fill_(2.0)
    for _ in range(5000):
        averaged.update_parameters(model)
    return round(averaged.module.weight[0, 0].item(), 3)


seen = [average(torch.bfloat16), average(torch.float32)]
print("average after 5,000 updates in bfloat16, float32:", seen)
sys.exit(None if seen == [1.0, 1.993] else "the behaviour has changed")
PY
