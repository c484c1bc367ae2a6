#!/usr/bin/env bash
# Library:   torch 2.13.0, torch.nn.CrossEntropyLoss(weight=...)
# Behaviour: the mean of the loss is divided by the weights of the labels in the batch. In a batch with one label,
#            or with equal ones, the weight cancels: class weights have no effect at all. Accumulated over
#            batches of one, the gradient is that of the unweighted loss.
# Seen:      weights 1 and 100, four examples, the last of the rare class; their shares of the gradient:
#            one batch of four 0.0097, 0.0097, 0.0097, 0.9709; four batches of one 0.25 each
# Hurts:     who goes to batch size 1 with gradient accumulation to save memory loses the class weights that were
#            meant for the rare class, though the configuration still names them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet numpy==2.4.6

venv/bin/python - <<'PY'
import sys

import torch

labels = torch.tensor([0, 0, 0, 1])
loss = torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 100.0]))


def shares(size):
    logits = torch.zeros(4, 2, requires_grad=True)
    for rows in torch.arange(4).split(size):
        (loss(logits[rows], labels[rows]) * len(rows) / 4).backward()
    pull = logits.grad.abs().sum(dim=1)
    return [round(share, 4) for share in (pull / pull.sum()).tolist()]


seen = {size: shares(size) for size in (4, 1)}
for size, numbers in seen.items():
    print(f"batches of {size}: shares of the gradient {numbers}")
recorded = {4: [0.0097, 0.0097, 0.0097, 0.9709], 1: [0.25, 0.25, 0.25, 0.25]}
sys.exit(None if seen == recorded else "the behaviour has changed")
PY
