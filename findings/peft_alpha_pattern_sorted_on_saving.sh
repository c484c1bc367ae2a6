#!/usr/bin/env bash
# Library:   peft 0.21.2, LoraConfig(alpha_pattern=...), with torch 2.13.0 and transformers 5.23.0
# Behaviour: a key of alpha_pattern is a regular expression for the end of a module's name, and the first key that fits
#            decides. adapter_config.json is written with its keys sorted, those of alpha_pattern too. Where two keys
#            fit a module, another one comes first after loading, and the adapter is scaled by another alpha.
# Seen:      {"value": 64, "layer.0.attention.self.value": 4}: the module in question has the scale 32 in training and 2
#            after from_pretrained, the outputs differ by more than 0.1. The other order of the keys survives.
#            rank_pattern is sorted in the same way; there the sizes no longer fit, which is an error.
# Hurts:     the adapter that is deployed, or trained further, is not the one that was evaluated, and no message says
#            so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    accelerate==1.15.0 huggingface_hub==2.4.0 numpy==2.4.6 peft==0.21.2 safetensors==0.8.0 transformers==5.23.0

HF_HUB_OFFLINE=1 venv/bin/python - <<'PY' 2> stderr.txt || { cat stderr.txt >&2; exit 1; }
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import BertConfig, BertModel

PLACE = "layer.0.attention.self.value"
SIZES = {"vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}


def base():
    torch.manual_seed(0)
    return BertModel(BertConfig(**SIZES))


def scale_and_output(model):
    (scale,) = (part.scaling["default"] for name, part in model.named_modules() if name.endswith(PLACE))
    with torch.no_grad():
        return scale, model.eval()(torch.tensor([[1, 2, 3]]))[0]


def saved_and_loaded(pattern):
    config = LoraConfig(r=2, target_modules=["value"], alpha_pattern=pattern, init_lora_weights=False)
    model = get_peft_model(base(), config)
    before, expected = scale_and_output(model)
    model.save_pretrained("adapter")
    after, output = scale_and_output(PeftModel.from_pretrained(base(), "adapter"))
    return before, after, (output - expected).abs().max().item()


general_first = saved_and_loaded({"value": 64, PLACE: 4})
special_first = saved_and_loaded({PLACE: 4, "value": 64})
for order, (before, after, gap) in {"general": general_first, "special": special_first}.items():
    print(f"{order} key first: scale {before} in training, {after} after loading; outputs differ by up to {gap:.3f}")
same = general_first[:2] == (32.0, 2.0) and general_first[2] > 0.1
same &= special_first[:2] == (2.0, 2.0) and special_first[2] < 1e-6
sys.exit(None if same else "the behaviour has changed")
PY
