#!/usr/bin/env bash
# Library:   lightning 2.6.6, BackboneFinetuning, with torch 2.13.0
# Behaviour: a run that is resumed after the thaw gets the optimizer's groups back, the backbone's among them, but
#            setup() has frozen the backbone again, and it is only thawed in the very epoch of the thaw, which is over.
# Seen:      unfreeze_backbone_at_epoch=2. Six epochs in one go: the backbone moves in epochs 2 to 5. Four epochs, then
#            resumed for two: it stands still in epochs 4 and 5. The groups and their rates are the same both times,
#            and the callback goes on raising the rate of the backbone.
# Hurts:     a run that was interrupted trains the head alone from there on. Its log of rates, its groups and its
#            checkpoint are those of a backbone that trains, and nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    lightning==2.6.6 lightning-utilities==0.15.3 numpy==2.4.6 pytorch-lightning==2.6.6 torchmetrics==1.9.0

venv/bin/python - <<'PY' 2> stderr.txt || { cat stderr.txt >&2; exit 1; }
import sys

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BackboneFinetuning
from torch.utils.data import DataLoader, TensorDataset


class Model(LightningModule):
    def __init__(self, epochs):
        super().__init__()
        self.epochs = epochs
        self.backbone, self.head = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)

    def training_step(self, batch, _):
        return self.head(self.backbone(batch[0])).pow(2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.head.parameters(), lr=0.01)

    def on_train_epoch_start(self):
        self.before = self.backbone.weight.detach().clone()

    def on_train_epoch_end(self):
        moved = not torch.equal(self.before, self.backbone.weight)
        groups = [(round(group["lr"], 6), len(group["params"])) for group in self.trainer.optimizers[0].param_groups]
        self.epochs[self.current_epoch] = (moved, groups)


def train(epochs, last, checkpoint=None):
    torch.manual_seed(0)
    rows = DataLoader(TensorDataset(torch.ones(4, 2)), batch_size=2)
    callback = BackboneFinetuning(unfreeze_backbone_at_epoch=2, lambda_func=lambda epoch: 1.1)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = Trainer(max_epochs=last, callbacks=[callback], accelerator="cpu", **quiet)
    trainer.fit(Model(epochs), rows, ckpt_path=checkpoint)
    trainer.save_checkpoint("after.ckpt")


whole, parts = {}, {}
train(whole, 6)
train(parts, 4)
train(parts, 6, "after.ckpt")
for epoch in range(6):
    print(f"epoch {epoch}: in one go {whole[epoch]}; resumed before epoch 4 {parts[epoch]}")
same = [moved for moved, _ in whole.values()] == [False, False, True, True, True, True]
same &= [moved for moved, _ in parts.values()] == [False, False, True, True, False, False]
same &= all(whole[epoch][1] == parts[epoch][1] for epoch in range(6)) and len(whole[5][1]) == 2
sys.exit(None if same else "the behaviour has changed")
PY
