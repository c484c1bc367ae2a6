#!/usr/bin/env bash
# Library:   finetuning-scheduler 2.14.1, with lightning 2.6.6 and torch 2.13.0
# Behaviour: an optimizer that holds other parameters than those of phase 0 is filled anew, with those in one group and
#            the defaults of the optimizer. Rates and decays that configure_optimizers gave to its groups are gone.
# Seen:      AdamW(lr=0.3) with groups for body, mid and head, lr 1e-4, 1e-3, 1e-2, decay 0.5 for mid; phase 0 trains
#            mid and head: they are in one group, lr 0.3, decay 0.01. The log says that the optimizer was reconfigured
#            "to optimize the parameters (and only those parameters)" of phase 0.
# Hurts:     discriminative rates and decay exceptions do not survive the freezing, unless the groups hold just what
#            phase 0 trains. A schedule cannot state them: the rate of phase 0 is always the optimizer's.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    finetuning-scheduler==2.14.1 lightning==2.6.6 lightning-utilities==0.15.3 numpy==2.4.6 \
    pytorch-lightning==2.6.6 torchmetrics==1.9.0

venv/bin/python - <<'PY' 2> stderr.txt || { cat stderr.txt >&2; exit 1; }
import sys

import lightning
import torch
from finetuning_scheduler import FinetuningScheduler

seen = []


class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.body, self.mid, self.head = (torch.nn.Linear(2, 2) for _ in range(3))

    def training_step(self, batch, _):
        return self.head(self.mid(self.body(batch[0]))).pow(2).mean()

    def configure_optimizers(self):
        groups = [
            {"params": self.body.parameters(), "lr": 1e-4},
            {"params": self.mid.parameters(), "lr": 1e-3, "weight_decay": 0.5},
            {"params": self.head.parameters(), "lr": 1e-2},
        ]
        return torch.optim.AdamW(groups, lr=0.3)

    def on_train_epoch_start(self):
        names = {id(parameter): name for name, parameter in self.named_parameters()}
        for group in self.trainer.optimizers[0].param_groups:
            seen.append((group["lr"], group["weight_decay"], [names[id(parameter)] for parameter in group["params"]]))


with open("schedule.yaml", "w") as file:
    file.write("0:\n  params: ['mid.*', 'head.*']\n1:\n  params: ['body.*']\n")
rows = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 2)), batch_size=4)
lightning.Trainer(
    max_epochs=1, callbacks=[FinetuningScheduler(ft_schedule="schedule.yaml")], accelerator="cpu", logger=False,
    enable_progress_bar=False, enable_model_summary=False,
).fit(Model(), rows)
for rate, decay, names in seen:
    print(f"lr {rate}, weight decay {decay}: {names}")
same = seen == [(0.3, 0.01, ["mid.weight", "mid.bias", "head.weight", "head.bias"])]
sys.exit(None if same else "the behaviour has changed")
PY
