#!/usr/bin/env bash
# Library:   peft 0.21.2, with torch 2.13.0 and transformers 5.23.0
# Behaviour: target_modules="all-linear" leaves out the output layer of a language model only. The head of a
#            classification model, which is new and random, becomes a frozen base layer with an adapter unless
#            task_type is given too. The adapter file does not hold the random weights that it was trained on.
# Seen:      without task_type: classifier frozen, with lora_A and lora_B; a saved adapter, loaded on the same
#            backbone with a head of its own, gives other logits. With task_type="SEQ_CLS" the logits are the same
# Hurts:     the reloaded model has the trained difference on top of another random head: the validation score
#            of the run cannot be reached again, and the weights that are missing exist nowhere.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    accelerate==1.15.0 huggingface_hub==2.4.0 numpy==2.4.6 peft==0.21.2 safetensors==0.8.0 transformers==5.23.0

HF_HUB_OFFLINE=1 venv/bin/python - <<'PY'
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import BertConfig, BertForSequenceClassification, BertModel

torch.manual_seed(0)
SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
BertModel(BertConfig(vocab_size=10, **SIZES)).save_pretrained("backbone")
TOKENS = torch.tensor([[1, 2, 3]])


def with_new_head():
    return BertForSequenceClassification.from_pretrained("backbone", num_labels=3)


def logits(model):
    with torch.no_grad():
        return model.eval()(TOKENS).logits


def change_by_reload(folder, **options):
    model = get_peft_model(with_new_head(), LoraConfig(target_modules="all-linear", **options))
    trained = [name.split("classifier.")[1] for name, p in model.named_parameters() if "classifier" in name and p.requires_grad]
    model.save_pretrained(folder)
    reloaded = PeftModel.from_pretrained(with_new_head(), folder)
    return trained, (logits(model) - logits(reloaded)).abs().max().item()


plain, with_task = change_by_reload("plain"), change_by_reload("task", task_type="SEQ_CLS")
print(f"without task_type: trained in the head {plain[0]}; logits change by {plain[1]:.2g} when reloaded")
print(f"with task_type:    trained in the head {with_task[0]}; logits change by {with_task[1]:.2g} when reloaded")
same = plain[0] == ["lora_A.default.weight", "lora_B.default.weight"] and plain[1] > 1e-4 and with_task[1] == 0
sys.exit(None if same else "the behaviour has changed")
PY
