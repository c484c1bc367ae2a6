#!/usr/bin/env bash
# Library:   ema-pytorch 0.8.3, EMA(ignore_names=..., update_model_with_ema_every=...), with torch 2.13.0
# Behaviour: weights that the average ignores stay in its model as they were when averaging began. Whenever the average
#            is written back into the trained model, they are written with it. Blended in by update_model_with_ema_beta
#            they are left alone, and so are the names of param_or_buffer_names_no_ema.
# Seen:      two weights that are raised by 1 a step, written back every 10 updates. After 19 steps the averaged one
#            stands at 16.04, the ignored one at 9.0: it was set back from 10 to 0 and begins again. With
#            ignore_startswith_names too; with update_model_with_ema_beta=0.5, or excluded from the average: 19.0
# Hurts:     to ignore a part is how to keep the average away from it. Every write-back throws its training away, down
#            to the first step, while the loss of the rest falls as usual.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0 numpy==2.4.6
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps ema-pytorch==0.8.3

venv/bin/python - <<'PY'
import sys

import torch
from ema_pytorch import EMA


def trained(**options):
    model = torch.nn.ParameterDict({name: torch.zeros(1) for name in ("averaged", "ignored")})
    average = EMA(model, beta=0.9, update_after_step=0, update_every=1, update_model_with_ema_every=10, **options)
    average.update()
    for _ in range(19):
        with torch.no_grad():
            for weight in model.values():
                weight += 1
        average.update()
    return [round(weight.item(), 2) for weight in model.values()]


seen = {
    "ignore_names": trained(ignore_names={"ignored"}),
    "ignore_startswith_names": trained(ignore_startswith_names={"ignored"}),
    "ignore_names, written back by half": trained(ignore_names={"ignored"}, update_model_with_ema_beta=0.5),
    "param_or_buffer_names_no_ema": trained(param_or_buffer_names_no_ema={"ignored"}),
}
for options, weights in seen.items():
    print(f"{options}: the averaged weight is {weights[0]}, the other {weights[1]}, after 19 steps of 1")
sys.exit(None if [pair[1] for pair in seen.values()] == [9.0, 9.0, 19.0, 19.0] else "the behaviour has changed")
PY
