#!/usr/bin/env bash
# Library:   torch 2.13.0, torch.distributed.checkpoint.state_dict
# Behaviour: get_state_dict and get_optimizer_state_dict run a step of the optimizer with zero gradients if it has no
#            state yet. The weights stay, but the step is counted, so Adam's bias correction is that of a second step
#            when the first gradient comes: the moments are too small by 0.1/0.19 and the square root of about 1/2.
# Seen:      AdamW, lr 0.1, no decay: the first step moves a weight by 0.1; by 0.0744 if the state was asked for
#            before. After that step the optimizer has counted 2.
# Hurts:     writing a checkpoint of the start changes the training that follows it, and a run with one is not the run
#            without. No gradient needs to be there, no process group either.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0 numpy==2.4.6

venv/bin/python - <<'PY'
import sys

import torch
from torch.distributed.checkpoint.state_dict import get_state_dict


def first_step(saved):
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(model.weight)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.0)
    if saved:
        get_state_dict(model, optimizer)
    before = model.weight.item()
    model(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    return before, round(before - model.weight.item(), 4), int(optimizer.state[model.weight]["step"])


seen = {saved: first_step(saved) for saved in (False, True)}
for saved, (before, moved, steps) in seen.items():
    print(f"state asked for before training: {saved}; weight {before}; moved by {moved}; steps counted {steps}")
sys.exit(None if seen == {False: (1.0, 0.1, 1), True: (1.0, 0.0744, 2)} else "the behaviour has changed")
PY
