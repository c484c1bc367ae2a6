#!/usr/bin/env bash
# Library:   fastai 2.8.12, fastai.optimizer, with torch 2.13.0
# Behaviour: a parameter may be in several groups of an optimizer, where torch raises an error. step() moves it once
#            for each group, and freeze_to() freezes it if any of its groups is frozen.
# Seen:      an embedding tied to the output layer, split into two groups of lr 1.0: SGD moves the weight by twice the
#            gradient; in one group by the gradient. Split with lr 0.1 and 1.0: by 1.1 times the gradient
#            after freeze_to(1) the group of the output layer, which is to train, has nothing that does
# Hurts:     a splitter that names layers, as for discriminative rates, meets the tied weights of every language
#            model: they get the sum of two rates and both weight decays, or the head is not trained.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    fastcore==2.2.41 fastprogress==1.1.6 fasttransform==0.0.5 matplotlib==3.11.2 numpy==2.4.6 pandas==3.1.1 \
    pillow==13.0.0 plum-dispatch==2.9.0 pyyaml==6.0.3 requests==2.34.2 scipy==1.17.1
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps fastai==2.8.12

venv/bin/python - <<'PY'
import sys

import torch
from fastai.optimizer import SGD


def tied_layers():
    embedding, output = torch.nn.Embedding(3, 2), torch.nn.Linear(2, 3, bias=False)
    torch.nn.init.ones_(embedding.weight)
    output.weight = embedding.weight
    return embedding, output


def moved_by(rates):
    layers = tied_layers()
    split = [list(layer.parameters()) for layer in layers] if len(rates) > 1 else [list(layers[0].parameters())]
    optimizer = SGD(split, lr=rates)
    layers[0].weight.grad = torch.ones(3, 2)
    optimizer.step()
    return round(1.0 - layers[0].weight[0, 0].item(), 4)


seen = {str(rates): moved_by(rates) for rates in ([1.0], [1.0, 1.0], [0.1, 1.0])}
for rates, moved in seen.items():
    print(f"rates {rates}: a gradient of 1 moves the weight by {moved}")

embedding, output = tied_layers()
optimizer = SGD([list(embedding.parameters()), list(output.parameters())], lr=1.0)
optimizer.freeze_to(1)
print("freeze_to(1): the weight of the last group is trained:", output.weight.requires_grad)
same = list(seen.values()) == [1.0, 2.0, 1.1] and not output.weight.requires_grad
sys.exit(None if same else "the behaviour has changed")
PY
