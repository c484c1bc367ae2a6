#!/usr/bin/env bash
# Library:   llamafactory 0.9.5, finetuning_type freeze, with transformers 4.57.6 and torch 2.13.0
# Behaviour: freeze_trainable_layers looks for ".INDEX." of the chosen layers anywhere in the names of parameters. The
#            experts of a mixture are numbered in the same way, so those with a chosen number are trained in all layers.
# Seen:      Mixtral of four layers with four experts each, the last layer chosen, which has 19 tensors: 28 are
#            trainable, the three of expert 3 in each of the layers 0, 1 and 2 among them. With two experts it is the 13
#            of the last layer. The log says "Set trainable layers: .3."
# Hurts:     with the 16 layers and 64 experts of OLMoE and two layers chosen, two experts in each of the 14 frozen
#            layers are trained, upcast to float32 and given state in the optimizer, and the backward runs to the first
#            layer. Models of transformers 5 that hold their experts in one tensor are spared.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    accelerate==1.11.0 datasets==4.0.0 hf_transfer==0.1.9 huggingface_hub==0.36.0 numpy==2.4.6 omegaconf==2.4.0 \
    pandas==3.1.1 peft==0.18.1 safetensors==0.8.0 tokenizers==0.22.1 transformers==4.57.6 trl==0.24.0
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps llamafactory==0.9.5

HF_HUB_OFFLINE=1 venv/bin/python - <<'PY' 2> stderr.txt || { cat stderr.txt >&2; exit 1; }
import sys

from llamafactory.hparams import FinetuningArguments, ModelArguments
from llamafactory.model.adapter import init_adapter
from transformers import MixtralConfig, MixtralForCausalLM

SIZES = {"vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "num_key_value_heads": 2}


def trainable(experts):
    config = MixtralConfig(num_hidden_layers=4, num_local_experts=experts, num_experts_per_tok=1, **SIZES)
    options = FinetuningArguments(stage="sft", finetuning_type="freeze", freeze_trainable_layers=1)
    model = init_adapter(config, MixtralForCausalLM(config), ModelArguments(model_name_or_path="model"), options, True)
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


seen = {}
for experts in (2, 4):
    names = trainable(experts)
    seen[experts] = [name for name in names if not name.startswith("model.layers.3.")]
    print(f"{experts} experts: {len(names)} tensors are trainable, outside of layer 3:", *seen[experts])
expected = [
    f"model.layers.{layer}.block_sparse_moe.experts.3.{matrix}.weight"
    for layer in range(3)
    for matrix in ("w1", "w2", "w3")
]
sys.exit(None if seen == {2: [], 4: expected} else "the behaviour has changed")
PY
