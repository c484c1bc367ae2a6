#!/usr/bin/env bash
# Library:   torch 2.13.0, torch.nn.Embedding(padding_idx=...)
# Behaviour: the page says that the vector at padding_idx "is not updated during training, i.e. it remains as a fixed
#            pad". It gets no gradient, but weight decay does not ask for one. Only a vector of zeros stays.
# Seen:      from_pretrained(ones, padding_idx=0, freeze=False), a hundred steps on another row, lr 0.1, weight decay
#            0.1: the padding vector goes from 1.0 to 0.366 with AdamW and with SGD; without decay it stays at 1.0
# Hurts:     checkpoints have padding vectors that are not zero. A pooling or convolution that takes them in sees them
#            change, although the row is thought to be frozen.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0 numpy==2.4.6

venv/bin/python - <<'PY'
import sys

import torch


def padding_vector(kind, decay):
    embedding = torch.nn.Embedding.from_pretrained(torch.ones(3, 2), freeze=False, padding_idx=0)
    optimizer = kind(embedding.parameters(), lr=0.1, weight_decay=decay)
    for _ in range(100):
        optimizer.zero_grad()
        embedding(torch.tensor([0, 1])).sum().backward()
        optimizer.step()
    assert not embedding.weight.grad[0].any()
    return round(embedding.weight[0, 0].item(), 3)


KINDS = (torch.optim.AdamW, torch.optim.SGD)
seen = {(kind.__name__, decay): padding_vector(kind, decay) for kind in KINDS for decay in (0.0, 0.1)}
for (kind, decay), value in seen.items():
    print(f"{kind}, weight decay {decay}: padding vector at {value}")
sys.exit(None if list(seen.values()) == [1.0, 0.366, 1.0, 0.366] else "the behaviour has changed")
PY
