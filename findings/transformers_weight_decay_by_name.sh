#!/usr/bin/env bash
# Library:   transformers 5.23.0, Trainer, with torch 2.13.0
# Behaviour: Trainer takes weight decay off torch's LayerNorm and off names with "bias", "layernorm", "rmsnorm",
#            "norm" or "_norm" as a part. Other norms are decayed by their name, and weights that are no biases
#            are not decayed for having the word in their name.
# Seen:      decayed: every BatchNorm scale of ResNet ("normalization"); Mamba's last RMSNorm ("norm_f") and D
#            not decayed: the linear layers of Swin v2's continuous_position_bias_mlp
# Hurts:     what is regularised depends on how the authors of a model spelled a layer, so the same weight_decay is
#            another experiment for another architecture; a decayed norm scale shrinks the pretrained features.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    accelerate==1.15.0 huggingface_hub==2.4.0 numpy==2.4.6 tokenizers==0.23.3 transformers==5.23.0

HF_HUB_OFFLINE=1 venv/bin/python - <<'PY' 2> stderr.txt || { cat stderr.txt >&2; exit 1; }
import sys

from transformers import (
    MambaConfig,
    MambaForCausalLM,
    ResNetConfig,
    ResNetForImageClassification,
    Swinv2Config,
    Swinv2ForImageClassification,
    Trainer,
    TrainingArguments,
)

MODELS = {
    "ResNet": ResNetForImageClassification(ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1])),
    "Mamba": MambaForCausalLM(MambaConfig(hidden_size=16, num_hidden_layers=1, vocab_size=20, state_size=4)),
    "Swin v2": Swinv2ForImageClassification(
        Swinv2Config(embed_dim=8, depths=[1], num_heads=[1], image_size=32, patch_size=4, window_size=2)
    ),
}


def surprises(model):
    arguments = TrainingArguments(output_dir="out", report_to=[], use_cpu=True, weight_decay=0.1)
    optimizer = Trainer(model=model, args=arguments).create_optimizer()
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    vectors = [n for n, p in model.named_parameters() if p.ndim == 1 and decay[id(p)] > 0]
    matrices = [n for n, p in model.named_parameters() if p.ndim > 1 and decay[id(p)] == 0]
    return vectors, matrices


seen = {name: surprises(model) for name, model in MODELS.items()}
for name, (vectors, matrices) in seen.items():
    print(f"{name}: decayed vectors {vectors}; matrices without decay {matrices}")
vectors = seen["ResNet"][0] + seen["Mamba"][0]
same = all("normalization.weight" in name for name in seen["ResNet"][0]) and len(seen["ResNet"][0]) > 1
same &= any("norm_f" in name for name in seen["Mamba"][0]) and any("bias_mlp" in name for name in seen["Swin v2"][1])
sys.exit(None if same else "the behaviour has changed")
PY
