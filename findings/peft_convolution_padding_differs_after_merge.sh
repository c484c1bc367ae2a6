#!/usr/bin/env bash
# Library:   peft 0.21.2, with torch 2.13.0
# Behaviour: LoRA on a convolution copies its kernel, stride and padding, but not padding_mode: the adapter pads with
#            zeros where the base layer reflects or wraps around. Merged into the kernel it pads as the base does,
#            so the merged model is another function along every border.
# Seen:      largest difference of the outputs after merge_and_unload: below 1e-5 with zeros; 2.8 with reflect,
#            2.1 with circular, below 1e-5 inside the border for all
# Hurts:     image and panorama models with such layers give other results after merging for deployment than they
#            were evaluated with. Neither making the adapter nor merging it warns.
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


def change_by_merge(padding_mode):
    torch.manual_seed(0)
    base = torch.nn.Sequential(torch.nn.Conv2d(2, 2, 3, padding=1, padding_mode=padding_mode))
    model = get_peft_model(base, LoraConfig(r=2, target_modules=["0"], init_lora_weights=False)).eval()
    image = torch.randn(1, 2, 5, 5)
    with torch.no_grad():
        before = model(image)
        change = (model.merge_and_unload()(image) - before).abs()
    return change.max().item(), change[..., 1:-1, 1:-1].max().item()


seen = {mode: change_by_merge(mode) for mode in ("zeros", "reflect", "circular")}
for mode, (whole, inside) in seen.items():
    print(f"{mode}: largest change {whole:.2g}, inside the border {inside:.2g}")
same = seen["zeros"][0] < 1e-5 and all(inside < 1e-5 for _, inside in seen.values())
same &= seen["reflect"][0] > 0.1 and seen["circular"][0] > 0.1
sys.exit(None if same else "the behaviour has changed")
PY
