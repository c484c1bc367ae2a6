#!/usr/bin/env bash
# Library:   pytorch-accelerated 0.1.61, ModelFreezer.freeze, with accelerate 1.15.0 and torch 2.13.0
# Behaviour: of a group of layers only modules without children are frozen. Parameters that a module holds beside its
#            children stay trainable. The group is called frozen as soon as one of its parameters is.
# Seen:      a class token before an encoder layer of torch, and a head. After freeze() the first group is frozen, says
#            get_layer_groups(). A step of SGD over get_trainable_parameters() moves the head, and class_token,
#            in_proj_weight and in_proj_bias of the first group, all queries, keys and values
# Hurts:     the backbone that was to stay as it is trains the heart of its attention. A list of trainable layers does
#            not show it, since get_layers() has only modules without children too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    accelerate==1.15.0 huggingface_hub==2.4.0 numpy==2.4.6 safetensors==0.8.0 tqdm==4.70.1
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps pytorch-accelerated==0.1.61

venv/bin/python - <<'PY'
import sys

import torch
from pytorch_accelerated.finetuning import ModelFreezer


class Backbone(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.class_token = torch.nn.Parameter(torch.zeros(1, 1, 4))
        self.layer = torch.nn.TransformerEncoderLayer(4, nhead=1, dim_feedforward=4, batch_first=True)

    def forward(self, rows):
        return self.layer(torch.cat([self.class_token, rows], 1))[:, 0]


torch.manual_seed(0)
model = torch.nn.Sequential(Backbone(), torch.nn.Linear(4, 2))
freezer = ModelFreezer(model)
freezer.freeze()
groups = [group.is_frozen for group in freezer.get_layer_groups()]
start = {name: parameter.clone() for name, parameter in model.named_parameters()}
optimizer = torch.optim.SGD(freezer.get_trainable_parameters(), lr=0.1)
model(torch.randn(1, 3, 4)).square().sum().backward()
optimizer.step()
moved = [name for name, parameter in model.named_parameters() if not torch.equal(parameter, start[name])]
print(f"frozen groups: {groups}, moved: {moved}")
backbone = ["0.class_token", "0.layer.self_attn.in_proj_weight", "0.layer.self_attn.in_proj_bias"]
same = groups == [True, False] and moved == [*backbone, "1.weight", "1.bias"]
sys.exit(None if same else "the behaviour has changed")
PY
