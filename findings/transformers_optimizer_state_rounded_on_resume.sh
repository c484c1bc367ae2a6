#!/usr/bin/env bash
# Library:   torch 2.13.0 (Optimizer.load_state_dict) with the Adafactor of transformers 5.23.0
# Behaviour: load_state_dict turns floating-point state into the type of the parameter. Adafactor of transformers
#            keeps its second moments in float32 for bfloat16 weights, on purpose; a save and a load round them to
#            the eight bits of bfloat16. The next step makes float32 of the rounded numbers, which hides it.
# Seen:      exp_avg_sq_row: float32 before, bfloat16 after load_state_dict of its own state_dict, float32 again
#            after one step; 0.04426307 has become 0.04418945
# Hurts:     a run that was resumed goes on with other numbers than one that was not, by up to 0.4 %, and no
#            warning says so. Who looks for the cause finds the right type in the optimizer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    huggingface_hub==2.4.0 numpy==2.4.6 tokenizers==0.23.3 transformers==5.23.0

venv/bin/python - <<'PY'
import sys

import torch
from transformers import Adafactor

weight = torch.nn.Parameter(torch.ones(4, 4, dtype=torch.bfloat16))


def optimizer():
    return Adafactor([weight], lr=1e-3, relative_step=False, scale_parameter=False)


first, resumed = optimizer(), optimizer()
def moments(adafactor):
    return adafactor.state[weight]["exp_avg_sq_row"]


weight.grad = torch.full_like(weight, 0.3)
first.step()
weight.grad = torch.full_like(weight, 0.1)
first.step()
resumed.load_state_dict(first.state_dict())
types = [moments(first).dtype, moments(resumed).dtype]
numbers = [moments(first)[0].item(), moments(resumed)[0].item()]
resumed.step()
types.append(moments(resumed).dtype)
print("type of the second moments before the load, after it, one step later:", types)
print("a second moment before the load and after it:", numbers)
same = types == [torch.float32, torch.bfloat16, torch.float32] and numbers[0] != numbers[1]
sys.exit(None if same else "the behaviour has changed")
PY
