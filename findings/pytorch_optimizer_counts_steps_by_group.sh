#!/usr/bin/env bash
# Library:   pytorch-optimizer 4.1.0, with torch 2.13.0
# Behaviour: the steps are counted by group, where torch counts them by parameter. A parameter that is thawed late
#            starts with empty averages and the bias correction of an old group: none.
# Seen:      gradient 1, lr 0.001, weight thawed after 1,000 steps, its way in the next ten, in learning rates:
#            torch's AdamW and Adamax 10 and 10; AdamP 44, AdaBelief 62, LaProp 162; AdaMax and StableAdamW 4. Thawed
#            from the start AdamP, LaProp, AdaMax and StableAdamW all go 10, AdaBelief 14
# Hurts:     gradual unfreezing with the frozen layers in the optimizer from the start: with some optimizers the
#            pretrained layers leap, with others of the same family they crawl. A group for each stage avoids it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps numpy==2.4.6 pytorch-optimizer==4.1.0

venv/bin/python - <<'PY'
import sys

import pytorch_optimizer
import torch


def way(kind, frozen_steps):
    trained, late = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizer = kind([trained, late], lr=0.001, weight_decay=0.0)
    for step in range(frozen_steps + 10):
        trained.grad = torch.ones(1)
        late.grad = torch.ones(1) if step >= frozen_steps else None
        optimizer.step()
    return round((1 - late.item()) / 0.001)


kinds = {f"torch {kind.__name__}": kind for kind in (torch.optim.AdamW, torch.optim.Adamax)}
kinds |= {name: getattr(pytorch_optimizer, name) for name in ("AdamP", "AdaBelief", "LaProp", "AdaMax", "StableAdamW")}
seen = {name: [way(kind, 0), way(kind, 1000)] for name, kind in kinds.items()}
for name, (early, late) in seen.items():
    print(f"{name}: thawed at the start {early}, after 1,000 steps {late}")
recorded = [[10, 10], [10, 10], [10, 44], [14, 62], [10, 162], [10, 4], [10, 4]]
sys.exit(None if list(seen.values()) == recorded else "the behaviour has changed")
PY
