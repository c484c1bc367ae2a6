#!/usr/bin/env bash
# Library:   torch 2.13.0, torch.distributed.checkpoint.state_dict
# Behaviour: get_optimizer_state_dict writes the state of a parameter that is frozen at that moment.
#            set_optimizer_state_dict passes over it, since it asks for requires_grad: the moments and the step count
#            that are in the checkpoint do not reach the optimizer. The optimizer's own load_state_dict restores them.
# Seen:      Adam, ten steps with a gradient of 1, frozen, saved, loaded, thawed: the next step, with a gradient of
#            0.01, moves the weight by 0.1, the full rate, and counts one; without the interruption, or by
#            load_state_dict, by 0.0898, and counts eleven
# Hurts:     plans that freeze a layer for a while and thaw it again. A run that was resumed in between gives that layer
#            first steps of the full rate, whatever its gradient; the state in the file is complete, and no word is
#            said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0 numpy==2.4.6

venv/bin/python - <<'PY'
import copy
import sys

import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)


def made():
    model = torch.nn.ModuleDict({name: torch.nn.Linear(1, 1, bias=False) for name in ("body", "head")})
    for weight in model.parameters():
        torch.nn.init.ones_(weight)
    return model, torch.optim.Adam(model.parameters(), lr=0.1)


def step(model, optimizer, gradient):
    before = model["body"].weight.item()
    for weight in model.parameters():
        weight.grad = torch.full_like(weight, gradient) if weight.requires_grad else None
    optimizer.step()
    return round(before - model["body"].weight.item(), 4), int(optimizer.state[model["body"].weight]["step"])


def thawed(restore):
    model, optimizer = made()
    for _ in range(10):
        step(model, optimizer, 1.0)
    model["body"].requires_grad_(False)
    model, optimizer = restore(model, optimizer)
    model["body"].requires_grad_(True)
    return step(model, optimizer, 0.01)


def by_name(flat):
    def restore(model, optimizer):
        options = StateDictOptions(flatten_optimizer_state_dict=flat)
        saved = copy.deepcopy(get_optimizer_state_dict(model, optimizer, options=options))
        assert ("state.body.weight.exp_avg" in saved) if flat else (int(saved["state"]["body.weight"]["step"]) == 10)
        again, other = made()
        again.load_state_dict(model.state_dict())
        again["body"].requires_grad_(False)
        set_optimizer_state_dict(again, other, saved, options=options)
        return again, other

    return restore


def by_optimizer(model, optimizer):
    again, other = made()
    again.load_state_dict(model.state_dict())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    return again, other


WAYS = {
    "not interrupted": lambda model, optimizer: (model, optimizer),
    "load_state_dict": by_optimizer,
    "set_optimizer_state_dict": by_name(False),
    "the same, flattened": by_name(True),
}
seen = {name: thawed(restore) for name, restore in WAYS.items()}
for name, (moved, steps) in seen.items():
    print(f"{name}: the first step after the thaw moves the weight by {moved}, steps counted {steps}")
kept, lost = (0.0898, 11), (0.1, 1)
sys.exit(None if list(seen.values()) == [kept, kept, lost, lost] else "the behaviour has changed")
PY
