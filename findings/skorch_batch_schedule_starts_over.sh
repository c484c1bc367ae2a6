#!/usr/bin/env bash
# Library:   skorch 1.4.0, LRScheduler(step_every="batch"), with torch 2.13.0
# Behaviour: a schedule by batch is started anew by every partial_fit, from the number of epochs so far, which it takes
#            for batches. The number of batches is counted from the history at that moment, and not used. A schedule by
#            epoch goes on where it was.
# Seen:      a rate that falls linearly from 1.0 over five epochs of ten batches. After each of four epochs of one fit,
#            and of partial_fit by epoch: 0.8, 0.6, 0.4, 0.2. After each of four partial_fit by batch: 0.8, 0.78, 0.76,
#            0.74
# Hurts:     a run that is continued, by partial_fit, warm_start or LoadInitState, leaps back to the top of its warm-up
#            and its decay each time, and ends at a high rate. All these calls are made to continue, and do so for
#            weights, optimizer and history.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    numpy==2.4.6 scikit-learn==1.9.1 scipy==1.17.1 tabulate==0.10.0 tqdm==4.70.1
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps skorch==1.4.0

venv/bin/python - <<'PY'
import sys

import numpy
import torch
from skorch import NeuralNetRegressor
from skorch.callbacks import LRScheduler
from torch.optim.lr_scheduler import LambdaLR

EPOCHS, BATCHES = 5, 10
ROWS = numpy.zeros((4 * BATCHES, 1), dtype="float32")


class Rates(LRScheduler):
    def on_epoch_end(self, net, **kwargs):
        super().on_epoch_end(net, **kwargs)
        RATES.append(round(net.optimizer_.param_groups[0]["lr"], 4))


def net(unit, epochs):
    steps = EPOCHS * (BATCHES if unit == "batch" else 1)
    schedule = Rates(LambdaLR, step_every=unit, lr_lambda=lambda step: 1 - step / steps)
    return NeuralNetRegressor(
        torch.nn.Linear,
        module__in_features=1,
        module__out_features=1,
        lr=1.0,
        batch_size=4,
        max_epochs=epochs,
        train_split=None,
        callbacks=[schedule],
        verbose=0,
    )


seen = {}
for unit in ("epoch", "batch"):
    RATES = seen[f"by {unit}, one fit"] = []
    net(unit, 4).fit(ROWS, ROWS)
    RATES = seen[f"by {unit}, four partial_fit"] = []
    continued = net(unit, 1)
    for _ in range(4):
        continued.partial_fit(ROWS, ROWS)
for name, rates in seen.items():
    print(f"{name}: {rates}")
right = [0.8, 0.6, 0.4, 0.2]
same = list(seen.values()) == [right, right, right, [0.8, 0.78, 0.76, 0.74]]
sys.exit(None if same else "the behaviour has changed")
PY
