#!/usr/bin/env bash
# Library:   schedulefree 1.4.1, AdamWScheduleFree, with torch 2.13.0
# Behaviour: the optimizer keeps the mode (train or eval) in each group, and a group that is added in the middle of
#            training starts in eval mode. step() looks at the first group only, so it raises nothing; the next
#            eval() leaves the late group at its training weights, and each train() after it moves that group further.
# Seen:      two equal weights after ten steps, one in the first group and one in a group added after train():
#            evaluated at 1.5228 and 1.5634; after the next train() they stand at 1.5633 and 1.5998
# Hurts:     gradual unfreezing adds groups while training runs. Scores and checkpoints then mix averaged weights with
#            raw ones, and every evaluation shifts the late weights. train() once more behind add_param_group helps.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps numpy==2.4.6 schedulefree==1.4.1

venv/bin/python - <<'PY'
import sys

import torch
from schedulefree import AdamWScheduleFree

first, late = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
optimizer = AdamWScheduleFree([first], lr=0.1)
optimizer.train()
optimizer.add_param_group({"params": [late]})
for _ in range(10):
    optimizer.zero_grad()
    sum((weight - 3) ** 2 for weight in (first, late)).backward()
    optimizer.step()


def weights():
    return [round(weight.item(), 4) for weight in (first, late)]


trained = weights()
optimizer.eval()
evaluated = weights()
optimizer.train()
resumed = weights()
print("after ten steps:", trained)
print("after eval():", evaluated)
print("after train():", resumed)
same = trained[0] == trained[1] and evaluated[0] != evaluated[1] == trained[1] and resumed[0] == trained[0] < resumed[1]
sys.exit(None if same else "the behaviour has changed")
PY
