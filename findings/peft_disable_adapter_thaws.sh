#!/usr/bin/env bash
# Library:   peft 0.21.2, PeftModel.disable_adapter, with torch 2.13.0 and transformers 5.23.0
# Behaviour: the context takes requires_grad away from every adapter weight and gives it to every weight of the active
#            adapter when it ends. What stood there before is not kept: one that was frozen is trainable afterwards.
# Seen:      LoRA whose lora_A is frozen, SGD over the whole adapter, two steps: lora_B moves. With one forward under
#            disable_adapter() before the steps, as for the logits of a reference model: lora_A requires a gradient and
#            moves too. An adapter from from_pretrained, which is loaded frozen, has all its weights trainable after it.
# Hurts:     LoRA-FA, adapters that train in the upper layers only, or layer by layer: preference and distillation
#            losses ask for the reference in every step, so the freezing lasts for none. Nothing is said.
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


def base():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))


def adapted():
    config = LoraConfig(r=2, target_modules=["0"], modules_to_save=["1"], init_lora_weights=False)
    return get_peft_model(base(), config)


def trainable(model):
    names = [name for name, weight in model.named_parameters() if weight.requires_grad]
    return sorted({part for part in ("lora_A", "lora_B", "modules_to_save") if any(part in name for name in names)})


def moved(reference):
    model = adapted()
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    optimizer = torch.optim.SGD(weights.values(), lr=0.1)
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    for name, weight in weights.items():
        weight.requires_grad_("lora_B" in name)
    if reference:
        with model.disable_adapter():
            model(torch.ones(1, 4))
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.ones(1, 4)).pow(2).sum().backward()
        optimizer.step()
    changed = [name for name, weight in weights.items() if not torch.equal(weight, before[name])]
    return trainable(model), sorted({part for part in ("lora_A", "lora_B") if any(part in name for name in changed)})


seen = {reference: moved(reference) for reference in (False, True)}
for reference, (names, changed) in seen.items():
    print(f"disable_adapter() before the steps: {reference}; trainable {names}; of the LoRA weights moved {changed}")
adapted().save_pretrained("adapter")
loaded = PeftModel.from_pretrained(base(), "adapter")
states = [trainable(loaded)]
with loaded.disable_adapter():
    states.append(trainable(loaded))
states.append(trainable(loaded))
print("trainable of a loaded adapter before, in and after disable_adapter():", *states)
whole = ["lora_A", "lora_B", "modules_to_save"]
recorded = [(["lora_B"], ["lora_B"]), (whole, ["lora_A", "lora_B"])]
sys.exit(None if list(seen.values()) == recorded and states == [[], [], whole] else "the behaviour has changed")
PY
