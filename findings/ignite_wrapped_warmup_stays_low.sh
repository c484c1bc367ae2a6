#!/usr/bin/env bash
# Library:   pytorch-ignite 0.5.5, LRScheduler, with torch 2.13.0
# Behaviour: a scheduler of torch applies its first factor when it is made, and the wrapper asks it for the first rate
#            again. LinearLR and ConstantLR multiply what they find, so the factor counts twice, and as they later only
#            undo it once, the rate stays too low for good.
# Seen:      lr 1.0, factor 0.5 for four steps. torch: LinearLR 0.5, 0.625, 0.75, 0.875, then 1.0, ConstantLR four times
#            0.5, then 1.0. Wrapped, at ITERATION_STARTED as the documentation shows: 0.25, 0.3125, 0.375, 0.4375, then
#            0.5 to the end, and four times 0.25, then 0.5. StepLR and LambdaLR are the same wrapped
# Hurts:     a warm-up from a thousandth, start_factor=0.001, leaves the run at a thousandth of its rate after it has
#            ended, without a message.
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
from ignite.engine import Engine, Events
from ignite.handlers import LRScheduler
from torch.optim.lr_scheduler import ConstantLR, LambdaLR, LinearLR, StepLR

SCHEDULES = {
    "LinearLR": lambda optimizer: LinearLR(optimizer, start_factor=0.5, total_iters=4),
    "ConstantLR": lambda optimizer: ConstantLR(optimizer, factor=0.5, total_iters=4),
    "StepLR": lambda optimizer: StepLR(optimizer, step_size=3),
    "LambdaLR": lambda optimizer: LambdaLR(optimizer, lambda step: 0.5 if step < 4 else 1.0),
}


def rates(make, wrapped):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    scheduler = make(optimizer)
    seen = []

    def step(engine, batch):
        seen.append(round(optimizer.param_groups[0]["lr"], 4))
        optimizer.step()
        if not wrapped:
            scheduler.step()

    trainer = Engine(step)
    if wrapped:
        trainer.add_event_handler(Events.ITERATION_STARTED, LRScheduler(scheduler))
    trainer.run([0] * 7, max_epochs=1)
    return seen


seen = {name: [rates(make, wrapped) for wrapped in (False, True)] for name, make in SCHEDULES.items()}
for name, (alone, wrapped) in seen.items():
    print(f"{name}: {alone}, wrapped {wrapped}")
linear, constant = [0.5, 0.625, 0.75, 0.875, 1.0, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0]
same = all(seen[name][0] == seen[name][1] for name in ("StepLR", "LambdaLR")) and all(
    seen[name] == [right, [round(rate / 2, 4) for rate in right]]
    for name, right in (("LinearLR", linear), ("ConstantLR", constant))
)
sys.exit(None if same else "the behaviour has changed")
PY
