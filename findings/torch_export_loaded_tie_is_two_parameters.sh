#!/usr/bin/env bash
# Library:   torch 2.13.0, torch.export.save and torch.export.load
# Behaviour: a tied weight, one parameter in the model and in its exported program, comes back from the file as two
#            parameters over one memory, of which the graph uses the last. The first gets no gradient, and what is set
#            on it, a freeze or a rate, has no effect on the values that it shows. unflatten ties them again.
# Seen:      an embedding tied to the output layer, frozen by its first name, and a step of Adam with a rate of 0.1:
#            exported, 1 parameter and no movement; loaded, 2 parameters at 1 address, moved by 0.1;
#            loaded and unflattened, 1 parameter and no movement. Not frozen, the loaded embedding has no gradient
# Hurts:     an exported language model that is trained on after loading trains its frozen embedding, or by the rate of
#            its head; the count of its parameters has the embedding twice.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0 numpy==2.4.6

venv/bin/python -W ignore - <<'PY'
import sys

import torch


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(5, 3)
        self.output = torch.nn.Linear(3, 5, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, tokens):
        return self.output(self.embedding(tokens))


TOKENS = torch.tensor([0, 1, 2, 3])


def exported():
    torch.manual_seed(0)
    return torch.export.export(Tied(), (TOKENS,))


def loaded():
    torch.export.save(exported(), "model.pt2")
    return torch.export.load("model.pt2")


def step(model, frozen):
    embedding = model.get_parameter("embedding.weight").requires_grad_(not frozen)
    before = embedding.detach().clone()
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    if trainable:
        torch.nn.functional.cross_entropy(model(TOKENS), TOKENS + 1).backward()
        torch.optim.Adam(trainable, lr=0.1).step()
    return embedding.grad is not None, round((embedding - before).abs().max().item(), 3)


def seen(make):
    parameters = list(make().parameters())
    addresses = {weight.data_ptr() for weight in parameters}
    return len(parameters), len(addresses), step(make(), frozen=False), step(make(), frozen=True)[1]


models = {
    "exported": lambda: exported().module(),
    "loaded": lambda: loaded().module(),
    "loaded, unflattened": lambda: torch.export.unflatten(loaded()),
}
results = {name: seen(make) for name, make in models.items()}
for name, (parameters, addresses, (gradient, free), frozen) in results.items():
    print(f"{name}: {parameters} parameter(s) at {addresses} address")
    print(f"    free: has a gradient: {gradient}, moved by {free}; frozen: moved by {frozen}")
tied = (1, 1, (True, 0.1), 0.0)
same = results == {"exported": tied, "loaded": (2, 1, (False, 0.1), 0.1), "loaded, unflattened": tied}
sys.exit(None if same else "the behaviour has changed")
PY
