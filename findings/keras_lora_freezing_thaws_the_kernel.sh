#!/usr/bin/env bash
# Library:   keras 3.15.1, Dense.enable_lora and layer.trainable, with the backend torch 2.13.0
# Behaviour: enable_lora freezes the kernel by a mark on the variable. Setting trainable on the layer, or on a model
#            around it, writes that mark for all of its variables: after False and True the kernel is trainable.
# Seen:      Dense with LoRA: trainable are bias, lora_kernel_a and lora_kernel_b. After trainable = False and
#            trainable = True on the model: kernel, bias, lora_kernel_a and lora_kernel_b, and fit() moves the kernel.
#            trainable = True alone is enough.
# Hurts:     a head is fitted first, with the rest frozen, and the adapters after it. The second stage is a full
#            fine-tuning: the pretrained kernels move, and the optimizer keeps moments for all of them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet keras==3.15.1 numpy==2.4.6

KERAS_BACKEND=torch CUDA_VISIBLE_DEVICES= venv/bin/python - <<'PY' 2> stderr.txt || { cat stderr.txt >&2; exit 1; }
import sys

import keras
import numpy


def after(*states):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    (layer,) = model.layers
    layer.enable_lora(1)
    for state in states:
        model.trainable = state
    before = keras.ops.convert_to_numpy(layer._kernel).copy()
    model.compile("sgd", "mse")
    model.fit(numpy.ones((4, 2)), numpy.full((4, 2), 9.0), verbose=0)
    moved = bool((keras.ops.convert_to_numpy(layer._kernel) != before).any())
    return [weight.name for weight in layer.trainable_weights], moved


seen = {states: after(*states) for states in ((), (False, True), (True,))}
for states, (names, moved) in seen.items():
    print(f"trainable set to {list(states)}: trainable {names}; the kernel moved: {moved}")
adapters = ["bias", "lora_kernel_a", "lora_kernel_b"]
thawed = (["kernel", *adapters], True)
sys.exit(None if list(seen.values()) == [(adapters, False), thawed, thawed] else "the behaviour has changed")
PY
