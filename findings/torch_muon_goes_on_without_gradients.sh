#!/usr/bin/env bash
# Library:   torch 2.13.0, Muon
# Behaviour: momentum fades after the last gradient, but each step makes it orthogonal, and so brings it to full length
#            again. As long as the gradient is zero and not None, the weight goes on by whole steps in the last
#            direction, for hundreds of them.
# Seen:      five random gradients, lr 0.02, then requires_grad=False and zero_grad(set_to_none=False). The lengths of
#            steps 5, 25, 55, 105 and 305: with Muon 0.0344, 0.0385, 0.0382, 0.0384 and 0.0323, with SGD(momentum=0.95)
#            0.1629, 0.0584, 0.0125, 0.001 and 0.0, with AdamW 0.0341, 0.0041, 0.0002, 0.0 and 0.0
# Hurts:     weights that are frozen in training, and heads and experts that other parts of the loss leave out, where
#            zeros are kept or all-reduced. What fades within a few steps elsewhere drifts off here.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0 numpy==2.4.6

venv/bin/python - <<'PY'
import sys

import torch


def lengths(make):
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(4, 4))
    gradients = torch.randn(5, 4, 4)
    optimizer = make([weight])
    steps = []
    for step in range(305):
        optimizer.zero_grad(set_to_none=False)
        weight.requires_grad = step < 5
        if weight.requires_grad:
            (weight * gradients[step]).sum().backward()
        before = weight.detach().clone()
        optimizer.step()
        steps.append((weight - before).norm().item())
    return [round(steps[step - 1], 4) for step in (5, 25, 55, 105, 305)]


seen = {
    "Muon": lengths(lambda weights: torch.optim.Muon(weights, lr=0.02, weight_decay=0.0)),
    "SGD": lengths(lambda weights: torch.optim.SGD(weights, lr=0.02, momentum=0.95)),
    "AdamW": lengths(lambda weights: torch.optim.AdamW(weights, lr=0.02, weight_decay=0.0)),
}
for name, steps in seen.items():
    print(f"{name}: {steps}")
same = min(seen["Muon"]) > 0.03 and all(steps[-1] == 0 < steps[0] for steps in (seen["SGD"], seen["AdamW"]))
sys.exit(None if same else "the behaviour has changed")
PY
