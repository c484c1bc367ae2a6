#!/usr/bin/env bash
# Library:   torch 2.13.0, torch.optim with a tensor as learning rate
# Behaviour: groups without a rate of their own hold the very tensor that was given as lr, and schedulers write into
#            it. What is set for one group is set for all, and for the variable of the caller.
# Seen:      two groups, lr=torch.tensor(0.1). LambdaLR with a lambda for each, 0.5 and 0.1: both rates are 0.01
#            ReduceLROnPlateau, factor 0.5: one reduction leaves 0.025. With three groups 0.0125, with lr=0.1 as a
#            float 0.05. The tensor that was passed holds the reduced rate too; a second optimizer made with it
#            starts there.
# Hurts:     a tensor is what compiled and captured optimizers are given so that a schedule does not recompile them.
#            Decay and no-decay groups are enough to square the factor of each reduction.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0 numpy==2.4.6

venv/bin/python -W ignore - <<'PY'
import sys

import torch
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau


def adam(rate, groups):
    return torch.optim.Adam([{"params": [torch.nn.Parameter(torch.ones(1))]} for _ in range(groups)], lr=rate)


def rates(optimizer):
    return [round(float(group["lr"]), 6) for group in optimizer.param_groups]


def by_lambdas(rate):
    optimizer = adam(rate, 2)
    scheduler = LambdaLR(optimizer, [lambda step: 0.5**step, lambda step: 0.1**step])
    optimizer.step()
    scheduler.step()
    return rates(optimizer)


def on_plateau(rate, groups):
    optimizer = adam(rate, groups)
    scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    for loss in (1.0, 2.0):
        scheduler.step(loss)
    return rates(optimizer)


lambdas = [by_lambdas(rate) for rate in (0.1, torch.tensor(0.1))]
given = torch.tensor(0.1)
plateaus = [on_plateau(0.1, 2), on_plateau(given, 2), on_plateau(torch.tensor(0.1), 3)]
print("LambdaLR, float and tensor:", *lambdas)
print("ReduceLROnPlateau, float, tensor, tensor with three groups:", *plateaus)
print("the tensor that was given:", round(given.item(), 6))
same = lambdas == [[0.05, 0.01], [0.01, 0.01]]
same &= plateaus == [[0.05] * 2, [0.025] * 2, [0.0125] * 3] and round(given.item(), 6) == 0.025
sys.exit(None if same else "the behaviour has changed")
PY
