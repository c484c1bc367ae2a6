#!/usr/bin/env bash
# Library:   optimum-quanto 0.2.7, quantize and freeze, with torch 2.13.0 and transformers 5.23.0
# Behaviour: freeze() replaces the weights of quantised layers by integers with scales. The new parameters require a
#            gradient, also where the old ones did not, and they get one. A step of an optimizer over them raises
#            nothing and changes nothing, whatever the rate.
# Seen:      two Linear layers, the first with requires_grad=False: its weight has False after quantize() and True after
#            freeze(). Backward gives both weights a gradient; SGD with the rates 0.1 and 1000 moves the second bias and
#            no weight. Without freeze() the second weight moves.
# Hurts:     counts of what trains, gradients and optimizer state take in the whole quantised model, the layers included
#            that were frozen before. Who trains on after freeze() trains biases and norms, at falling losses.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    huggingface_hub==2.4.0 ninja==1.13.2 numpy==2.4.6 safetensors==0.8.0 transformers==5.23.0
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps optimum-quanto==0.2.7

venv/bin/python - <<'PY' 2> stderr.txt || { cat stderr.txt >&2; exit 1; }
import sys

import torch
from optimum.quanto import freeze, qint8, quantize


def values(model):
    return {name: value.detach().dequantize().clone() for name, value in model.named_parameters()}


def after(rate, frozen):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    model[0].requires_grad_(False)
    quantize(model, weights=qint8)
    quantized = model[0].weight.requires_grad
    if frozen:
        freeze(model)
    needs = [name for name, value in model.named_parameters() if value.requires_grad]
    optimizer = torch.optim.SGD((value for value in model.parameters() if value.requires_grad), lr=rate)
    model(torch.randn(4, 4)).pow(2).sum().backward()
    assert all(value.grad is not None for value in model.parameters() if value.requires_grad)
    before = values(model)
    optimizer.step()
    now = values(model)
    return quantized, needs, [name for name in now if not torch.equal(now[name], before[name])]


seen = {(rate, frozen): after(rate, frozen) for rate, frozen in ((0.1, False), (0.1, True), (1000.0, True))}
for (rate, frozen), (quantized, needs, moved) in seen.items():
    print(f"rate {rate}, freeze(): {frozen}; after quantize(): {quantized}; trainable {needs}; moved {moved}")
plain = (False, ["1.weight", "1.bias"], ["1.weight", "1.bias"])
thawed = (False, ["0.weight", "1.weight", "1.bias"], ["1.bias"])
sys.exit(None if list(seen.values()) == [plain, thawed, thawed] else "the behaviour has changed")
PY
