#!/usr/bin/env bash
# Library:   peft 0.21.2, with torch 2.13.0
# Behaviour: LoRA on "out_proj" inside torch.nn.MultiheadAttention is made, counted as trainable and saved, but takes
#            no part: the attention reads out_proj.weight itself and never calls the layer, so the output is that
#            of the base model and the adapter gets no gradient.
# Seen:      output with random adapter weights equals the output without the adapter; gradient of lora_A: None
# Hurts:     vision and speech models built on torch's own attention have this name. The adapter is part of the
#            trainable count and of the saved file, and stays at its start values through the whole run.
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


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
        self.output = torch.nn.Linear(8, 2)

    def forward(self, x):
        return self.output(self.attention(x, x, x)[0])


config = LoraConfig(target_modules=["out_proj", "output"], init_lora_weights=False)
model = get_peft_model(Block(), config)
model.print_trainable_parameters()
x = torch.randn(2, 3, 8)
model(x).sum().backward()
moved = {name: p.grad is not None for name, p in model.named_parameters() if "lora_A" in name}
print("has a gradient:", moved)

attention = model.base_model.model.attention
with model.disable_adapter():
    without = attention(x, x, x)[0]
same_output = torch.equal(attention(x, x, x)[0], without)
print("the attention's output is the same with and without the adapter:", same_output)
seen = ([given for name, given in moved.items() if "out_proj" in name], same_output)
sys.exit(None if seen == ([False], True) and any(moved.values()) else "the behaviour has changed")
PY
