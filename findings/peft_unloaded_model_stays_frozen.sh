#!/usr/bin/env bash
# Library:   peft 0.21.2, merge_and_unload and unload, with torch 2.13.0
# Behaviour: get_peft_model freezes the base model. merge_and_unload() and unload() take the adapter away and leave the
#            base model frozen, but for what modules_to_save had replaced.
# Seen:      BERT of one layer for classification, all 25 parameters trainable. After LoRA on the queries and either of
#            merge_and_unload() and unload(): classifier.weight and classifier.bias require a gradient
# Hurts:     an adapter is merged so that all weights can be tuned on. The loss has a gradient and falls, but only the
#            head learns. requires_grad_(True) thaws the rest, what had been frozen on purpose included.
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

from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertForSequenceClassification


def trainable(model):
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def unloaded(call):
    config = BertConfig(vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    base = BertForSequenceClassification(config)
    before = len(trainable(base))
    adapted = get_peft_model(base, LoraConfig(task_type="SEQ_CLS", target_modules=["query"]))
    return before, trainable(getattr(adapted, call)())


seen = {call: unloaded(call) for call in ("merge_and_unload", "unload")}
for call, (before, after) in seen.items():
    print(f"{call}: trainable before {before} parameters, after {after}")
same = all(result == (25, ["classifier.weight", "classifier.bias"]) for result in seen.values())
sys.exit(None if same else "the behaviour has changed")
PY
