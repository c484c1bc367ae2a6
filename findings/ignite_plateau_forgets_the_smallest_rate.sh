#!/usr/bin/env bash
# Library:   pytorch-ignite 0.5.5, ReduceLROnPlateauScheduler, with torch 2.13.0
# Behaviour: min_lr is among the arguments that are handed on to ReduceLROnPlateau of torch. It is replaced by 0 unless
#            param_group_index is given too, and with an index it holds for the first group alone: the floors are
#            numbered by the groups of the optimizer, and read by the place among the groups that are scheduled.
# Seen:      two groups with lr 1.0, a metric that never gets better, factor 0.1, min_lr 0.01, ten events: torch's own
#            stops at 0.01. Ignite's goes to 1e-8 in both groups; with param_group_index=0 to 0.01, with index 1 to 1e-8
# Hurts:     a run that was to go on at a small rate stands still after some plateaus. The argument is checked for its
#            type, so that it looks as if it were read.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0 numpy==2.4.6 packaging==26.3
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps pytorch-ignite==0.5.5

venv/bin/python - <<'PY'
import sys

import torch
from ignite.engine import Engine
from ignite.handlers import ReduceLROnPlateauScheduler
from torch.optim.lr_scheduler import ReduceLROnPlateau

OPTIONS = {"factor": 0.1, "patience": 0, "min_lr": 0.01}


def two_groups():
    return torch.optim.SGD([{"params": [torch.nn.Parameter(torch.ones(1))]} for _ in range(2)], lr=1.0)


def rates(optimizer, event):
    for _ in range(10):
        event()
    return [float(f"{group['lr']:.3g}") for group in optimizer.param_groups]


def of_torch():
    optimizer = two_groups()
    scheduler = ReduceLROnPlateau(optimizer, **OPTIONS)
    return rates(optimizer, lambda: scheduler.step(1.0))


def of_ignite(**index):
    optimizer = two_groups()
    scheduler = ReduceLROnPlateauScheduler(optimizer, metric_name="loss", **OPTIONS, **index)
    evaluator = Engine(lambda engine, batch: None)
    evaluator.state.metrics["loss"] = 1.0
    return rates(optimizer, lambda: scheduler(evaluator))


seen = {
    "torch": of_torch(),
    "ignite": of_ignite(),
    "ignite, param_group_index=0": of_ignite(param_group_index=0),
    "ignite, param_group_index=1": of_ignite(param_group_index=1),
}
for name, pair in seen.items():
    print(f"{name}: {pair}")
recorded = [[0.01, 0.01], [1e-8, 1e-8], [0.01, 1.0], [1.0, 1e-8]]
sys.exit(None if list(seen.values()) == recorded else "the behaviour has changed")
PY
