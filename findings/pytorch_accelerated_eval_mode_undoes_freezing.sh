#!/usr/bin/env bash
# Library:   pytorch-accelerated 0.1.61, ModelFreezer, with accelerate 1.15.0 and torch 2.13.0
# Behaviour: whether to change the mode and whether to change requires_grad reach the layers in each other's place.
#            freeze(set_modules_as_eval=True) leaves all of it as it was, trainable and in training mode, and
#            unfreeze(set_modules_as_training=False) sets frozen layers to eval mode and leaves them frozen.
# Seen:      a body with four tensors and a head. After freeze() none of the body is trainable, after
#            freeze(set_modules_as_eval=True) all four are, in training mode. After freeze() and
#            unfreeze(set_modules_as_training=False) none is trainable, and the body is in eval mode
# Hurts:     who asks for the stricter of two ways to freeze gets none. A backbone that was to be kept is trained; one
#            that was to be thawed is not, and its parameters are returned for the optimizer all the same.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    accelerate==1.15.0 huggingface_hub==2.4.0 numpy==2.4.6 safetensors==0.8.0 tqdm==4.70.1
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps pytorch-accelerated==0.1.61

venv/bin/python - <<'PY'
import sys

import torch
from pytorch_accelerated.finetuning import ModelFreezer


def state(*calls):
    model = torch.nn.Sequential()
    model.body = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    model.head = torch.nn.Linear(2, 1)
    freezer = ModelFreezer(model)
    returned = None
    for call, options in calls:
        returned = getattr(freezer, call)(**options)
    trainable = sum(parameter.requires_grad for parameter in model.body.parameters())
    returned = sum(len(group["params"]) for group in (returned or {}).values())
    return {"trainable": trainable, "returned": returned, "training": all(layer.training for layer in model.body)}


EVAL, STILL = {"set_modules_as_eval": True}, {"set_modules_as_training": False}
seen = {
    "freeze()": state(("freeze", {})),
    "freeze(set_modules_as_eval=True)": state(("freeze", EVAL)),
    "freeze(), unfreeze()": state(("freeze", {}), ("unfreeze", {})),
    "freeze(), unfreeze(set_modules_as_training=False)": state(("freeze", {}), ("unfreeze", STILL)),
}
for calls, body in seen.items():
    print(f"{calls}: {body}")
recorded = [(0, 0, True), (4, 0, True), (4, 4, True), (0, 4, False)]
same = [tuple(body.values()) for body in seen.values()] == recorded
sys.exit(None if same else "the behaviour has changed")
PY
