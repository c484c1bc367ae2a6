#!/usr/bin/env bash
# Library:   peft 0.21.2, peft.optimizers.create_loraplus_optimizer, with torch 2.13.0
# Behaviour: LoRA+ raises the rate of the B matrices. The function gives the raised rate to every trainable tensor
#            with one axis too: biases and norms of modules_to_save, and DoRA's magnitudes; the weight of the same
#            head keeps the plain rate. A weight_decay that is passed for the optimizer has no effect.
# Seen:      lr=1e-4, ratio 16, weight_decay=0.1: head.weight 1e-4, head.bias 1.6e-3, magnitude 1.6e-3, all with
#            weight decay 0
# Hurts:     bias and weight of one classification head train at rates 16 times apart, and the run is not
#            regularised although a weight decay was given.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    accelerate==1.15.0 huggingface_hub==2.4.0 numpy==2.4.6 peft==0.21.2 safetensors==0.8.0 transformers==5.23.0

venv/bin/python - <<'PY'
import sys

import torch
from peft import LoraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.head = torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)


config = LoraConfig(target_modules=["query"], modules_to_save=["head"], use_dora=True)
model = get_peft_model(Model(), config)
optimizer = create_loraplus_optimizer(
    model, optimizer_cls=torch.optim.AdamW, lr=1e-4, loraplus_lr_ratio=16, weight_decay=0.1
)
names = {id(p): name.replace("base_model.model.", "") for name, p in model.named_parameters()}
seen = {names[id(p)]: (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
for name, (rate, decay) in seen.items():
    print(f"{name}: lr {rate}, weight decay {decay}")
recorded = {
    "query.lora_A.default.weight": (1e-4, 0.0),
    "query.lora_B.default.weight": (1.6e-3, 0.0),
    "query.lora_magnitude_vector.default.weight": (1.6e-3, 0.0),
    "head.modules_to_save.default.weight": (1e-4, 0.0),
    "head.modules_to_save.default.bias": (1.6e-3, 0.0),
}
sys.exit(None if seen == recorded else "the behaviour has changed")
PY
