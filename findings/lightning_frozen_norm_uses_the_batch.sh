#!/usr/bin/env bash
# Library:   lightning 2.6.6, BaseFinetuning.freeze(train_bn=False), with torch 2.13.0
# Behaviour: a batch norm is frozen by track_running_stats=False, which stops its statistics from moving and, in
#            training mode, from being used: each batch is normalised by itself. train_bn is documented as leaving
#            the batch norms in training mode, so False reads as if they were in evaluation mode.
# Seen:      a frozen norm with mean 0 and variance 1, the row [1, 2] in a batch with [3, 4]: [-1, -1] in training,
#            [1, 2] in evaluation. In a batch with [5, 9] the same row gives [-1, -1] again
# Hurts:     the head is trained on features of a frozen backbone that depend on the other rows of the batch and that
#            evaluation never produces. The frozen modules have to be put in eval mode as well.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    lightning==2.6.6 lightning-utilities==0.15.3 numpy==2.4.6 pytorch-lightning==2.6.6 torchmetrics==1.9.0

venv/bin/python - <<'PY'
import sys

import torch
from lightning.pytorch.callbacks import BaseFinetuning

norm = torch.nn.BatchNorm1d(2)
BaseFinetuning.freeze(norm, train_bn=False)
seen = {}
for training in (True, False):
    norm.train(training)
    rows = [norm(torch.tensor([[1.0, 2.0], other]))[0] for other in ([3.0, 4.0], [5.0, 9.0])]
    seen[training] = [[round(value, 2) for value in row.tolist()] for row in rows]
    print("training:" if training else "evaluation:", seen[training])
print("statistics:", norm.running_mean.tolist(), norm.running_var.tolist())
same = seen == {True: [[-1.0, -1.0]] * 2, False: [[1.0, 2.0]] * 2} and not norm.running_mean.any()
sys.exit(None if same else "the behaviour has changed")
PY
