#!/usr/bin/env bash
# Library:   timm 1.0.31, with torch 2.13.0
# Behaviour: create_optimizer_v2 asks the model itself which weights take no weight decay (position embeddings, class
#            token, bias tables). Inside any other module, for instance beside a head of one's own, it cannot ask,
#            and these weights are decayed.
# Seen:      weight decay of cls_token and pos_embed: 0.0 for the model, 0.05 for Sequential(model, head)
# Hurts:     adding a head changes how the pretrained backbone is regularised. A missing layer decay is at least
#            warned about; this is not.
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
from timm.optim import create_optimizer_v2

model = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0, depth=2)


def decays(module):
    optimizer = create_optimizer_v2(module, opt="adamw", lr=1e-3, weight_decay=0.05)
    by_tensor = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    return {name: by_tensor[id(getattr(model, name))] for name in ("cls_token", "pos_embed")}


seen = [decays(model), decays(torch.nn.Sequential(model, torch.nn.Linear(192, 3)))]
print("weight decay in the model:     ", seen[0])
print("weight decay inside Sequential:", seen[1])
recorded = [{"cls_token": 0.0, "pos_embed": 0.0}, {"cls_token": 0.05, "pos_embed": 0.05}]
sys.exit(None if seen == recorded else "the behaviour has changed")
PY
