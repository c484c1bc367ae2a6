#!/usr/bin/env bash
# Library:   peft 0.21.2, with torch 2.13.0
# Behaviour: torch.nn.TransformerEncoderLayer has a fast path for eval mode that hands the weights of linear1 and
#            linear2 to one fused operator. With LoRA on these layers it takes the base weights: the adapter works
#            in training mode and is left out in eval mode.
# Seen:      in eval mode the output with random adapter weights equals the output without the adapter; in
#            training mode (dropout 0) it differs from it
# Hurts:     the training loss falls, and every evaluation and prediction is that of the base model. It looks like
#            overfitting. No message tells that another path is taken.
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

torch.manual_seed(0)
layer = torch.nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, dropout=0.0, batch_first=True)
encoder = torch.nn.TransformerEncoder(layer, num_layers=2)
model = get_peft_model(encoder, LoraConfig(target_modules=["linear1", "linear2"], init_lora_weights=False))
x = torch.randn(2, 3, 8)


def effect(training):
    model.train(training)
    with torch.no_grad():
        given = model(x)
        with model.disable_adapter():
            return (given - model(x)).abs().max().item()


seen = {"training": effect(True), "eval": effect(False)}
print("largest change that the adapter makes:", {mode: round(change, 3) for mode, change in seen.items()})
sys.exit(None if seen["training"] > 0.1 and seen["eval"] == 0.0 else "the behaviour has changed")
PY
