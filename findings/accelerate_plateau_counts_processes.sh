#!/usr/bin/env bash
# Library:   accelerate 1.15.0, AcceleratedScheduler, with torch 2.13.0
# Behaviour: a scheduler from prepare() steps once per process at each call, for schedules that count batches. For
#            ReduceLROnPlateau every repetition is another look at the same metric, which is no better than itself:
#            each evaluation brings its processes less one closer to the end of the patience.
# Seen:      a loss that falls at each of five evaluations, patience=1. One and two processes: the rate stays at 1.0.
#            Four processes: 0.1, 0.01, 0.001, 0.0001, 1e-05. Two processes and one loss that did not fall, in the
#            third evaluation: the rate goes to 0.1, where one process keeps 1.0.
# Hurts:     the script that is tuned on one device stops learning on four, with nothing in the log but a falling rate.
#            A ReduceLROnPlateau that is not given to prepare() is right on any number.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    accelerate==1.15.0 huggingface_hub==2.4.0 numpy==2.4.6 safetensors==0.8.0

cat > plateau.py <<'PY'
import json
import sys

import torch
from accelerate import Accelerator, debug_launcher

LOSSES = {"falling": [5.0, 4.0, 3.0, 2.0, 1.0], "one rise": [5.0, 4.0, 4.5, 3.0, 2.0]}


def rates(accelerator, losses, prepared):
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    if prepared:
        model, optimizer, scheduler = accelerator.prepare(model, optimizer, scheduler)
    else:
        model, optimizer = accelerator.prepare(model, optimizer)
    given = []
    for loss in losses:
        optimizer.step()
        scheduler.step(loss)
        given.append(float(f"{optimizer.param_groups[0]['lr']:.0e}"))
    return given


def write_rates(path):
    accelerator = Accelerator(cpu=True)
    given = {
        f"{name}, {prepared}": rates(accelerator, losses, prepared)
        for name, losses in LOSSES.items()
        for prepared in (True, False)
    }
    if accelerator.is_main_process:
        with open(path, "w") as file:
            json.dump(given, file)


if __name__ == "__main__":
    seen = {}
    for processes in (1, 2, 4):
        debug_launcher(write_rates, args=("rates.json",), num_processes=processes)
        with open("rates.json") as file:
            seen[processes] = json.load(file)
        for what, given in seen[processes].items():
            print(f"processes: {processes}; loss, prepared: {what}; rates: {given}")
    right = [1.0] * 5
    same = seen[1]["falling, True"] == seen[2]["falling, True"] == seen[1]["one rise, True"] == right
    same &= seen[4]["falling, True"] == [0.1, 0.01, 0.001, 0.0001, 1e-05]
    same &= seen[2]["one rise, True"] == [1.0, 1.0, 0.1, 0.1, 0.1]
    same &= all(rates[f"{name}, False"] == right for rates in seen.values() for name in LOSSES)
    sys.exit(None if same else "the behaviour has changed")
PY
venv/bin/python plateau.py 2> stderr.txt || { cat stderr.txt >&2; exit 1; }
