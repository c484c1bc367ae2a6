#!/usr/bin/env bash
# Library:   torch 2.13.0, torch.optim with fused=True
# Behaviour: a backward pass over a graph whose weights were stepped meanwhile is refused: "modified by an inplace
#            operation". The check reads the version counters of the weights, which a fused step does not raise. The
#            backward then runs, with the new weights in the place of those of the forward.
# Seen:      y = w * w at w = 1, one step of AdamW or SGD with the rate 0.1, then y.backward(): refused with foreach
#            and with the plain loop; fused, the gradient is 1.798 with AdamW and 1.6 with SGD, where 2.0 is right
# Hurts:     two losses over one forward with a step between them, as in adversarial or alternating training. Changing
#            to fused for its speed, as Trainer of transformers does by default, silences the error, not the mistake.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0 numpy==2.4.6

venv/bin/python - <<'PY'
import sys

import torch


def backward_after_step(kind, **way):
    weight = torch.nn.Parameter(torch.ones(4))
    optimizer = kind([weight], lr=0.1, **way)
    before = (weight * weight).sum()
    (weight * weight).sum().backward()
    version = weight._version
    optimizer.step()
    raised = weight._version - version
    optimizer.zero_grad()
    try:
        before.backward()
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error)
        return raised > 0, "refused"
    return raised > 0, round(weight.grad[0].item(), 3)


WAYS = {"fused": {"fused": True}, "foreach": {"foreach": True}, "loop": {"foreach": False, "fused": False}}
seen = {(kind.__name__, name): backward_after_step(kind, **way)
        for kind in (torch.optim.AdamW, torch.optim.SGD) for name, way in WAYS.items()}
for (kind, name), (raised, outcome) in seen.items():
    print(f"{kind}, {name}: version counter {'raised' if raised else 'not raised'}, backward {outcome}")
same = all(outcome == (True, "refused") for (_, name), outcome in seen.items() if name != "fused")
same = same and seen["AdamW", "fused"] == (False, 1.798) and seen["SGD", "fused"] == (False, 1.6)
sys.exit(None if same else "the behaviour has changed")
PY
