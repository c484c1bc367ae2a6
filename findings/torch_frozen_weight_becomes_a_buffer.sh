#!/usr/bin/env bash
# Library:   torch 2.13.0, torch.nn.utils.parametrize.remove_parametrizations
# Behaviour: a weight that is made of several tensors, as under weight_norm, comes back as a parameter only if one of
#            them requires a gradient and gradients are on at that moment. Of a frozen layer, or within
#            torch.no_grad(), it comes back as a buffer.
# Seen:      weight_norm removed from a Linear: a trainable one has the parameters bias and weight; a frozen one, or
#            any under no_grad(), has the parameter bias and the buffer weight. requires_grad_(True) does not thaw it.
#            spectral_norm, which is made of one tensor, leaves a parameter each time.
# Hurts:     speech models drop weight_norm before they are deployed or tuned further. The state dict looks as ever,
#            but the weights are in no optimizer, in no count of parameters, and stay frozen when the layer is thawed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0 numpy==2.4.6

venv/bin/python - <<'PY'
import sys

import torch
from torch.nn.utils import parametrizations, parametrize


def thawed(norm, trainable, gradients):
    layer = norm(torch.nn.Linear(4, 4)).requires_grad_(trainable)
    with torch.set_grad_enabled(gradients):
        parametrize.remove_parametrizations(layer, "weight")
    layer.requires_grad_(True)
    parameters = sorted(name for name, _ in layer.named_parameters())
    buffers = [name for name, _ in layer.named_buffers()]
    return parameters, buffers, layer.weight.requires_grad, sorted(layer.state_dict())


CASES = [(True, True), (False, True), (True, False)]
seen = {
    (norm.__name__, *case): thawed(norm, *case)
    for norm in (parametrizations.weight_norm, parametrizations.spectral_norm)
    for case in CASES
}
for (norm, trainable, gradients), (parameters, buffers, requires, state) in seen.items():
    print(f"{norm}, trainable {trainable}, gradients on {gradients}: parameters {parameters}, buffers {buffers},")
    print(f"    after requires_grad_(True) the weight requires a gradient: {requires}; state dict {state}")
kept = (["bias", "weight"], [], True, ["bias", "weight"])
lost = (["bias"], ["weight"], False, ["bias", "weight"])
same = [seen["weight_norm", *case] for case in CASES] == [kept, lost, lost]
same &= [seen["spectral_norm", *case] for case in CASES] == [kept, kept, kept]
sys.exit(None if same else "the behaviour has changed")
PY
