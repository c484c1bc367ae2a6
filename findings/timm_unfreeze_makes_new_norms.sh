#!/usr/bin/env bash
# Library:   timm 1.0.31, timm.utils.freeze and unfreeze, with torch 2.13.0
# Behaviour: freeze() puts modules without parameters in the place of the batch norms. unfreeze() puts new batch norms
#            there, with the values of the old ones but parameters of their own and the default momentum.
# Seen:      resnet18 with the momentum 0.01: after freeze and unfreeze all 40 scales and offsets of the norms require
#            a gradient and are in no optimizer that was made before; the momentum is 0.1
# Hurts:     a backbone is frozen for the first epochs and thawed, the optimizer has all parameters from the start: the
#            norms are never trained again, and their statistics follow the batches ten times as fast.
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

import torch

# timm imports torchvision, none of whose operators are used here. A torchvision that was built for another
# variant of torch cannot describe its operators to this one; it is let in without that.
register, torch.library.register_fake = torch.library.register_fake, lambda *_, **__: lambda function: function
import torchvision  # noqa: F401

torch.library.register_fake = register
import timm
from timm.utils import freeze, unfreeze


def momenta(model):
    return sorted({module.momentum for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)})


model = timm.create_model("resnet18", pretrained=False, num_classes=2)
for module in model.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
        module.momentum = 0.01
before = momenta(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
freeze(model)
unfreeze(model)
known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
lost = [name for name, parameter in model.named_parameters() if parameter.requires_grad and id(parameter) not in known]
print(f"in no optimizer: {len(lost)} of {len(list(model.parameters()))} parameters, {lost[:2]} and so on")
print("momentum before and after:", before, momenta(model))
same = len(lost) == 40 and "bn1.weight" in lost and (before, momenta(model)) == ([0.01], [0.1])
sys.exit(None if same else "the behaviour has changed")
PY
