#!/usr/bin/env bash
# Library:   lightning 2.6.6, BaseFinetuning.unfreeze_and_add_param_group, with torch 2.13.0
# Behaviour: parameters that are in the optimizer already are left out of the new group, and whether one is in it is
#            judged by shape and value, not by identity. A norm of the backbone whose weights are at one, or a bias at
#            zero, is taken for the one of the head.
# Seen:      backbone Linear and LayerNorm, head LayerNorm and Linear, the head in the optimizer: of the backbone only
#            the Linear joins; a warning says that the others "already exist within another group"
# Hurts:     the norms and biases that are left out require gradients and are never trained. Which ones those are
#            depends on their values: a trained norm joins, a fresh one does not.
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

backbone = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LayerNorm(4))
head = torch.nn.Sequential(torch.nn.LayerNorm(4), torch.nn.Linear(4, 4))
names = {id(p): name for name, p in torch.nn.ModuleDict({"backbone": backbone, "head": head}).named_parameters()}
BaseFinetuning.freeze(backbone)
optimizer = torch.optim.SGD(head.parameters(), lr=1.0)
BaseFinetuning.unfreeze_and_add_param_group(backbone, optimizer)
joined = [names[id(p)] for p in optimizer.param_groups[1]["params"]]
trainable = [name for name, p in backbone.named_parameters(prefix="backbone") if p.requires_grad]
print("thawed:", trainable)
print("joined:", joined)
same = len(trainable) == 4 and joined == ["backbone.0.weight", "backbone.0.bias"]
sys.exit(None if same else "the behaviour has changed")
PY
