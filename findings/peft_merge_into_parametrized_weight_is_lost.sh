#!/usr/bin/env bash
# Library:   peft 0.21.2, with torch 2.13.0
# Behaviour: a layer under weight_norm or spectral_norm computes its weight anew on every forward. merge_and_unload
#            adds the adapter to the weight that was computed last, and the next forward throws that away: the
#            merged model is exactly the base model.
# Seen:      weight_norm and spectral_norm: the adapter changes the output, after merge_and_unload the output is
#            bit for bit that of the base model
# Hurts:     speech models use weight_norm. The adapter is unloaded by the same call, so the model that is saved
#            for deployment has lost the fine-tuning, and no warning was given.
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
import warnings

import torch
from peft import LoraConfig, get_peft_model
from torch.nn.utils import parametrizations


class Model(torch.nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.query = norm(torch.nn.Linear(4, 4))

    def forward(self, x):
        return self.query(x)


def changes(norm):
    torch.manual_seed(0)
    base, x = Model(norm).eval(), torch.randn(2, 4)
    with torch.no_grad(), warnings.catch_warnings(record=True) as caught:
        plain = base(x)
        model = get_peft_model(base, LoraConfig(r=2, target_modules=["query"], init_lora_weights=False)).eval()
        adapted = (model(x) - plain).abs().max().item()
        merged = (model.merge_and_unload()(x) - plain).abs().max().item()
    return round(adapted, 3), merged, len(caught)


seen = {norm.__name__: changes(norm) for norm in (parametrizations.weight_norm, parametrizations.spectral_norm)}
for norm, (adapted, merged, warned) in seen.items():
    print(f"{norm}: the adapter changes the output by {adapted}, merged by {merged}; warnings: {warned}")
same = all(adapted > 0.1 and (merged, warned) == (0.0, 0) for adapted, merged, warned in seen.values())
sys.exit(None if same else "the behaviour has changed")
PY
