#!/usr/bin/env bash
# Library:   torch 2.13.0, torch.distributed.checkpoint.state_dict
# Behaviour: set_optimizer_state_dict takes a state whose groups are divided in another way than the optimizer's, which
#            load_state_dict refuses. Of groups that are now one, the nested form of the state gives the rate and decay
#            of the last, the flattened form those of the first. Of a group that is now two, the nested form gives them
#            to the last alone, and the other has no rate at all; the flattened form gives them to both.
# Seen:      saved with lr 1e-3, 1e-4 and 1e-5 for a, b and c. Loaded where a and b are one group: 1e-4 and 1e-5 nested,
#            1e-3 and 1e-5 flattened; where all are one: 1e-5 and 1e-3. Saved with a and b as one, loaded with each
#            alone: the group of a has no key "lr", and the next step raises KeyError; flattened 1e-3, 1e-3, 1e-5.
# Hurts:     a run that is resumed with fewer groups trains a layer at the rate of another, which depends on the form of
#            the checkpoint. The checkpoint loads without a word.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0 numpy==2.4.6

venv/bin/python - <<'PY'
import sys

import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

RATES = {"a": 1e-3, "b": 1e-4, "c": 1e-5, "ab": 1e-3}


def made(groups):
    model = torch.nn.ModuleDict({name: torch.nn.Linear(1, 1, bias=False) for name in "abc"})
    given = [{"params": [model[name].weight for name in names], "lr": RATES.get(names, 1.0)} for names in groups]
    return model, torch.optim.AdamW(given)


def step(model, optimizer):
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()


def loaded(before, after, flat):
    options = StateDictOptions(flatten_optimizer_state_dict=flat)
    model, optimizer = made(before)
    step(model, optimizer)
    saved = get_optimizer_state_dict(model, optimizer, options=options)
    again, other = made(after)
    try:
        other.load_state_dict(optimizer.state_dict())
        refused = False
    except ValueError:
        refused = True
    set_optimizer_state_dict(again, other, saved, options=options)
    rates = [group.get("lr") for group in other.param_groups]
    try:
        step(again, other)
        error = None
    except KeyError as found:
        error = type(found).__name__
    return rates, error, refused


CASES = [(("a", "b", "c"), ("ab", "c")), (("a", "b", "c"), ("abc",)), (("ab", "c"), ("a", "b", "c"))]
seen = {(before, after, flat): loaded(before, after, flat) for before, after in CASES for flat in (False, True)}
for (before, after, flat), (rates, error, refused) in seen.items():
    form = "flattened" if flat else "nested"
    print(f"{before} -> {after}, {form}: rates {rates}, next step: {error}; load_state_dict refuses: {refused}")
recorded = [
    ([1e-4, 1e-5], None, True),
    ([1e-3, 1e-5], None, True),
    ([1e-5], None, True),
    ([1e-3], None, True),
    ([None, 1e-3, 1e-5], "KeyError", True),
    ([1e-3, 1e-3, 1e-5], None, True),
]
sys.exit(None if list(seen.values()) == recorded else "the behaviour has changed")
PY
