#!/usr/bin/env bash
# Library:   lightning 2.6.6, BackboneFinetuning with DDPStrategy, on torch 2.13.0
# Behaviour: the callback freezes the backbone before the model is wrapped. DistributedDataParallel averages the
#            gradients of what is trainable at that moment, so after the thaw each process trains the backbone on its
#            own rows alone. DDP's page says that it registers its reductions on all the parameters; looking for unused
#            parameters (ddp_find_unused_parameters_true) changes nothing.
# Seen:      two processes, unfreeze_backbone_at_epoch=1: after epoch 0 both have the same weights; after epochs 1 and 2
#            the same head and different backbones, whichever of the two strategies
# Hurts:     every process ends with another model, of which the first one's is saved. The backbone has seen a fraction
#            of the data, the processes' losses drift apart, and there is no message.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    lightning==2.6.6 lightning-utilities==0.15.3 numpy==2.4.6 pytorch-lightning==2.6.6 torchmetrics==1.9.0

cat > thaw.py <<'PY'
import sys

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BackboneFinetuning
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader, TensorDataset


class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)

    def training_step(self, batch, _):
        return self.head(self.backbone(batch[0])).pow(2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.head.parameters(), lr=0.1)

    def on_train_epoch_end(self):
        weights = {"backbone": self.backbone.weight.detach(), "head": self.head.weight.detach()}
        torch.save(weights, f"{self.global_rank}-{self.current_epoch}.pt")


def equal_weights(unused):
    torch.manual_seed(0)
    rows = DataLoader(TensorDataset(torch.randn(8, 2)), batch_size=2)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    strategy = DDPStrategy(start_method="fork", find_unused_parameters=unused)
    callback = BackboneFinetuning(unfreeze_backbone_at_epoch=1)
    trainer = Trainer(max_epochs=3, callbacks=[callback], accelerator="cpu", devices=2, strategy=strategy, **quiet)
    trainer.fit(Model(), rows)
    found = []
    for epoch in range(3):
        first, second = (torch.load(f"{rank}-{epoch}.pt") for rank in range(2))
        found.append({name: torch.equal(first[name], second[name]) for name in first})
    return found


if __name__ == "__main__":
    both, parted = {"backbone": True, "head": True}, {"backbone": False, "head": True}
    same = True
    for unused in (False, True):
        seen = equal_weights(unused)
        print(f"find_unused_parameters={unused}, equal in both processes after epochs 0, 1 and 2:", *seen, sep="\n    ")
        same &= seen == [both, parted, parted]
    sys.exit(None if same else "the behaviour has changed")
PY
venv/bin/python thaw.py 2> stderr.txt || { cat stderr.txt >&2; exit 1; }
