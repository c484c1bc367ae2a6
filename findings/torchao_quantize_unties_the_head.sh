#!/usr/bin/env bash
# Library:   torchao 0.18.0, quantize_, with torch 2.13.0
# Behaviour: quantize_ works on linear layers. A head that is tied to an embedding gets a quantised copy of the weight,
#            which does not require a gradient, and the embedding keeps its own: the tie is gone without a word.
# Seen:      an embedding of 64 x 32 and its head, int8 weights only: one parameter before, two after; a change of the
#            embedding reaches the logits of the head before and not after
# Hurts:     embeddings that are tuned on over a quantised model drift away from its head. Both weights are held and
#            saved, so that the smallest models, most of which is that weight, get larger.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps numpy==2.4.6 torchao==0.18.0

venv/bin/python - <<'PY' 2> stderr.txt || { cat stderr.txt >&2; exit 1; }
import sys

import torch
from torchao.quantization import Int8WeightOnlyConfig, quantize_


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = torch.nn.Embedding(64, 32), torch.nn.Linear(32, 64, bias=False)
        self.head.weight = self.embedding.weight


def state(model):
    hidden = torch.ones(1, 32)
    before = model.head(hidden)
    with torch.no_grad():
        model.embedding.weight[0] += 1.0
        followed = not torch.equal(model.head(hidden), before)
        model.embedding.weight[0] -= 1.0
    return [(name, parameter.requires_grad) for name, parameter in model.named_parameters()], followed


model = Model()
tied = state(model)
quantize_(model, Int8WeightOnlyConfig())
quantised = state(model)
for name, (parameters, followed) in {"before": tied, "quantised": quantised}.items():
    print(f"{name}: parameters, trainable or not: {parameters}; the head follows the embedding: {followed}")
same = tied == ([("embedding.weight", True)], True)
same &= quantised == ([("embedding.weight", True), ("head.weight", False)], False)
sys.exit(None if same else "the behaviour has changed")
PY
