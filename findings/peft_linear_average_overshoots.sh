#!/usr/bin/env bash
# Library:   peft 0.21.2, add_weighted_adapter(combination_type="linear"), with torch 2.13.0
# Behaviour: "linear" adds the factors of LoRA, each by the square root of its weight, and multiplies the sums. The
#            page calls that a rough approximation of the weighted sum. Of adapters that agree it is the weighted sum
#            times their number: the products of one's A with the other's B come on top.
# Seen:      an adapter averaged with an equal one, weights 0.5 and 0.5, as a multiple of the update: linear 2.0,
#            dare_linear and magnitude_prune with density 1.0 too, ties 0.5; cat and svd 1.0. Four of 0.25: linear 4.0
# Hurts:     checkpoints of one run, or adapters of one start, are nearly equal. Their average overshoots by their
#            number, and nothing says so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    accelerate==1.15.0 huggingface_hub==2.4.0 numpy==2.4.6 peft==0.21.2 safetensors==0.8.0 transformers==5.23.0

venv/bin/python - <<'PY' 2> stderr.txt || { cat stderr.txt >&2; exit 1; }
import sys

import torch
from peft import LoraConfig, get_peft_model

DENSITY = {"ties": 1.0, "dare_linear": 1.0, "magnitude_prune": 1.0}


def averaged(kind, number):
    torch.manual_seed(0)
    config = LoraConfig(r=2, lora_alpha=2, target_modules=["0"], init_lora_weights=False)
    model = get_peft_model(torch.nn.Sequential(torch.nn.Linear(8, 8)), config, adapter_name="a0")
    layer, names = model.base_model.model[0], [f"a{place}" for place in range(number)]
    for name in names[1:]:
        model.add_adapter(name, config)
        for factors in (layer.lora_A, layer.lora_B):
            factors[name].load_state_dict(factors["a0"].state_dict())
    options = {"density": DENSITY[kind]} if kind in DENSITY else {}
    model.add_weighted_adapter(names, [1 / number] * number, "average", combination_type=kind, **options)
    one, average = layer.get_delta_weight("a0"), layer.get_delta_weight("average")
    return round((average / one).median().item(), 3)


seen = {kind: averaged(kind, 2) for kind in ("linear", "dare_linear", "magnitude_prune", "ties", "cat", "svd")}
seen["linear of four"] = averaged("linear", 4)
for kind, multiple in seen.items():
    print(f"{kind}: {multiple} times the update of each")
sys.exit(None if list(seen.values()) == [2.0, 2.0, 2.0, 0.5, 1.0, 1.0, 4.0] else "the behaviour has changed")
PY
