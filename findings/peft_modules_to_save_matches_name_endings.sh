#!/usr/bin/env bash
# Library:   peft 0.21.2, with torch 2.13.0 and transformers 5.23.0
# Behaviour: target_modules compares whole parts of a module's name, modules_to_save compares the end of the
#            string. "norm" therefore names every "input_layernorm" and "post_attention_layernorm" as well as the
#            last "norm"; "score" would name "underscore".
# Seen:      Llama with two layers, modules_to_save=["norm"]: five norms are trained, where one was named
# Hurts:     layers that should stay frozen are trained in full and kept in the adapter file. With larger modules
#            ("head", "classifier") that is memory as well.
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

from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

sizes = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "num_key_value_heads": 2}
model = LlamaForCausalLM(LlamaConfig(vocab_size=10, num_hidden_layers=2, **sizes))
print("modules called norm:", [name for name, _ in model.named_modules() if name.split(".")[-1] == "norm"])
model = get_peft_model(model, LoraConfig(target_modules=["q_proj"], modules_to_save=["norm"]))
seen = [name.split(".modules_to_save")[0] for name, p in model.named_parameters() if p.requires_grad and "lora" not in name]
print("trained in full:", seen)
sys.exit(None if len(seen) == 5 and sum("layernorm" in name for name in seen) == 4 else "the behaviour has changed")
PY
