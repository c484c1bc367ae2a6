#!/usr/bin/env bash
# Library:   lightning 2.6.6, BackboneFinetuning(train_bn=False), with torch 2.13.0
# Behaviour: train_bn is only looked at when the backbone is thawed. Until then the callback freezes the backbone with
#            train_bn=True, so its batch norms are trainable, whatever was asked for.
# Seen:      a backbone of Linear and BatchNorm1d, unfreeze_backbone_at_epoch=10, two epochs, an optimizer of the
#            parameters that require gradients (the form that lightning's own warning proposes): the weight and the
#            bias of the norm and its statistics have moved; train_bn=True gives the same
# Hurts:     a backbone that is meant to stand still gets other norms, from the first step and at the full rate of the
#            head. With an optimizer of the head alone the statistics move all the same.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    lightning==2.6.6 lightning-utilities==0.15.3 numpy==2.4.6 pytorch-lightning==2.6.6 torchmetrics==1.9.0

venv/bin/python - 2>/dev/null <<'PY'
import sys

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BackboneFinetuning
from torch.utils.data import DataLoader, TensorDataset


class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
        self.head = torch.nn.Linear(3, 1)

    def training_step(self, batch, index):
        return self.head(self.backbone(batch[0])).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=0.1)


torch.manual_seed(0)
rows = DataLoader(TensorDataset(torch.randn(8, 3)), batch_size=4)
quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
seen = {}
for train_bn in (False, True):
    model = Model()
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    callback = BackboneFinetuning(unfreeze_backbone_at_epoch=10, train_bn=train_bn)
    Trainer(max_epochs=2, callbacks=[callback], accelerator="cpu", **quiet).fit(model, rows)
    after = model.backbone.state_dict()
    seen[train_bn] = [name for name in after if not torch.equal(after[name], before[name])]
    print(f"train_bn={train_bn}, moved in the frozen backbone:", seen[train_bn])
recorded = ["1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"]
sys.exit(None if seen[False] == seen[True] == recorded else "the behaviour has changed")
PY
