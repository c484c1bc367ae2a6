#!/usr/bin/env bash
# Library:   timm 1.0.31, with torch 2.13.0
# Behaviour: create_optimizer_v2(layer_decay=...) writes the decay into the groups as "lr_scale" and leaves "lr" the
#            same in all of them. Only timm's own schedulers multiply by it: without a scheduler, or with one of
#            torch, there is no layer-wise decay at all.
# Seen:      layer_decay=0.5, ViT with two blocks: lr 0.001 in every group, and again in every group after a step of
#            torch's CosineAnnealingLR; with timm's CosineLRScheduler from 0.000125 to 0.001
# Hurts:     the groups look right (one per layer, each with its scale), and all pretrained layers train at the
#            rate of the head. Trainers of other libraries bring their own scheduler, so this is the usual case.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps timm==1.0.31 torchvision==0.28.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    huggingface_hub==2.4.0 numpy==2.4.6 pillow==13.0.0 safetensors==0.8.0

venv/bin/python - <<'PY'
import sys
import warnings

import torch

# timm imports torchvision, none of whose operators are used here. A torchvision that was built for another
# variant of torch cannot describe its operators to this one; it is let in without that.
register, torch.library.register_fake = torch.library.register_fake, lambda *_, **__: lambda function: function
import torchvision  # noqa: F401

torch.library.register_fake = register
import timm
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler

warnings.simplefilter("ignore")
model = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=3, depth=2)


def optimizer():
    return create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.5)


def rates(given):
    return sorted({group["lr"] for group in given.param_groups})


plain, with_torch, with_timm = optimizer(), optimizer(), optimizer()
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(with_torch, T_max=10)
with_torch.step()
schedule.step()
CosineLRScheduler(with_timm, t_initial=10)
print("lr_scale of the groups:", sorted({group["lr_scale"] for group in plain.param_groups}))
print("rates without a scheduler:", rates(plain))
print("rates with torch's scheduler:", rates(with_torch))
print("rates with timm's scheduler:", rates(with_timm))
same = rates(plain) == [1e-3] and len(rates(with_torch)) == 1 and rates(with_timm) == [1.25e-4, 2.5e-4, 5e-4, 1e-3]
sys.exit(None if same else "the behaviour has changed")
PY
