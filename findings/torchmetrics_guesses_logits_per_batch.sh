#!/usr/bin/env bash
# Library:   torchmetrics 1.9.0, with torch 2.13.0
# Behaviour: binary and multilabel metrics take logits or probabilities and look at the numbers to tell which: a
#            batch with a value outside [0, 1] goes through a sigmoid. The look is taken batch by batch, so logits
#            that happen to lie between 0 and 1 are taken for probabilities and mixed with the others.
# Seen:      the same logits, in one update and in two:
#            Accuracy(task="binary")  1.0 and 0.5
#            AUROC(task="binary")     1.0 and 0.6667
# Hurts:     the score depends on the batch size and on the order of the rows, most of all in the first epochs and
#            in the last, small batch, when few logits are large. Early stopping and comparisons follow it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    lightning-utilities==0.15.3 numpy==2.4.6 torchmetrics==1.9.0

venv/bin/python - <<'PY'
import sys

import torch
from torchmetrics import AUROC, Accuracy


def scores(metric, logits, labels):
    given = []
    for size in (len(labels), len(labels) // 2):
        metric.reset()
        for rows in torch.arange(len(labels)).split(size):
            metric.update(torch.tensor(logits)[rows], torch.tensor(labels)[rows])
        given.append(round(metric.compute().item(), 4))
    return given


seen = {
    "accuracy": scores(Accuracy(task="binary"), [0.1, 0.2, -3.0, 3.0], [1, 1, 0, 1]),
    "AUROC": scores(AUROC(task="binary"), [0.9, 0.6, 1.5, -2.0], [0, 0, 1, 0]),
}
for name, (one, two) in seen.items():
    print(f"{name}: in one batch {one}, in two batches {two}")
sys.exit(None if seen == {"accuracy": [1.0, 0.5], "AUROC": [1.0, 0.6667]} else "the behaviour has changed")
PY
