#!/usr/bin/env bash
# Library:   torch 2.13.0, torch.optim.swa_utils.update_bn
# Behaviour: update_bn sets the statistics of every batch norm to mean 0 and variance 1, calls train() on the model and
#            runs the data through it. Norms that the model keeps in eval mode are reset and never filled again; those
#            of a frozen backbone that is merely without gradients are replaced by the statistics of the loader.
# Seen:      a frozen norm with mean 5 and variance 9. A model whose train() leaves the backbone in eval mode, the usual
#            form: 0 and 1. One without: 0.5 and 1.0, those of the rows. The trained norm of the head is right each
#            time.
# Hurts:     the averaged model is what is kept of a run. Its backbone has lost the statistics of its pretraining, and
#            the features that the head was trained on are not those that it gets. Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0 numpy==2.4.6

venv/bin/python - <<'PY'
import sys

import torch
from torch.optim.swa_utils import AveragedModel, update_bn


class Loose(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.BatchNorm1d(1).requires_grad_(False)
        self.backbone.running_mean.fill_(5.0)
        self.backbone.running_var.fill_(9.0)
        self.head = torch.nn.BatchNorm1d(1)

    def forward(self, rows):
        return self.head(self.backbone(rows))


class Held(Loose):
    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self


def statistics(model):
    averaged = AveragedModel(model)
    update_bn([torch.tensor([[-0.5], [1.5], [-0.5], [1.5], [0.5]])] * 2, averaged)
    norm, head = averaged.module.backbone, averaged.module.head
    return [round(value.item(), 2) for value in (norm.running_mean, norm.running_var, head.running_mean.abs())]


seen = {kind.__name__: statistics(kind()) for kind in (Held, Loose)}
for name, (mean, variance, head) in seen.items():
    print(f"{name}: mean {mean}, variance {variance} of the frozen norm; mean {head} of the trained one")
sys.exit(None if seen == {"Held": [0.0, 1.0, 0.5], "Loose": [0.5, 1.0, 0.0]} else "the behaviour has changed")
PY
