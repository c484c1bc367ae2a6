#!/usr/bin/env bash
# Library:   adapters 1.3.0, merge_adapter, with transformers 4.57.6 and torch 2.13.0
# Behaviour: merge_adapter adds a LoRA adapter to the weights of the model. The next call that sets which adapters are
#            active, set_active_adapters(None) and train_adapter of another one included, takes it out of them again.
# Seen:      an adapter that changes the output: merged, the output is the same; after set_active_adapters(None) it is
#            that of the base model, and so is what save_pretrained writes; after train_adapter of a second adapter too
# Hurts:     a second adapter that is to be trained over a merged one is trained over the base model. An export that
#            merges, deactivates what is no longer needed and saves has lost the fine-tuning. No message is given.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    adapters==1.3.0 huggingface_hub==0.36.0 numpy==2.4.6 safetensors==0.8.0 tokenizers==0.22.1 transformers==4.57.6

HF_HUB_OFFLINE=1 venv/bin/python - <<'PY' 2> stderr.txt || { cat stderr.txt >&2; exit 1; }
import sys

import torch
from adapters import BertAdapterModel, LoRAConfig
from transformers import BertConfig, BertModel

WORDS = torch.tensor([[1, 2, 3]])
SIZES = {"vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}


def outputs(model):
    with torch.no_grad():
        return model.eval()(WORDS)[0]


def merged_then(change):
    torch.manual_seed(0)
    model = BertAdapterModel(BertConfig(**SIZES))
    plain = outputs(model)
    for name in ("first", "second"):
        model.add_adapter(name, config=LoRAConfig(r=2))
    for name, parameter in model.named_parameters():
        if "first.lora_B" in name:
            torch.nn.init.ones_(parameter)
    model.set_active_adapters("first")
    adapted = outputs(model)
    model.merge_adapter("first")
    merged = outputs(model)
    change(model)
    model.save_pretrained("saved")
    found = {"merged": merged, "changed": outputs(model), "saved": outputs(BertModel.from_pretrained("saved"))}
    assert (adapted - plain).abs().max() > 0.01
    sides = {"adapted": adapted, "base": plain}
    return {
        what: [side for side, other in sides.items() if torch.allclose(output, other, atol=1e-5)]
        for what, output in found.items()
    }


CHANGES = {
    "nothing": lambda model: None,
    "set_active_adapters(None)": lambda model: model.set_active_adapters(None),
    "train_adapter of the second": lambda model: model.train_adapter("second"),
}
seen = {name: merged_then(change) for name, change in CHANGES.items()}
for name, found in seen.items():
    print(f"merged, then {name}: {found}")
kept = {"merged": ["adapted"], "changed": ["adapted"], "saved": ["adapted"]}
undone = {"merged": ["adapted"], "changed": ["base"], "saved": ["base"]}
sys.exit(None if list(seen.values()) == [kept, undone, undone] else "the behaviour has changed")
PY
