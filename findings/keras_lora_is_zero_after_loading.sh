#!/usr/bin/env bash
# Library:   keras 3.15.1, Dense.enable_lora, with the backend torch 2.13.0
# Behaviour: saving adds the two LoRA matrices to the kernel. Loading weights into a layer with LoRA, by load_model or
#            by load_weights, sets both matrices to zero, where enable_lora draws the first at random. With both at zero
#            the gradient of each is zero, and they stay there under a new optimizer.
# Seen:      load_model of a model with LoRA: the outputs are the same, and after thirty epochs with a new Adam all LoRA
#            weights are 0.0, while the bias moves. The same for enable_lora and then load_weights of a model without
#            LoRA. load_weights and then enable_lora: they move, and the loss gets smaller.
# Hurts:     a fine-tuning that is continued, or one whose pretrained weights come after enable_lora, trains biases and
#            heads alone. The adapters are listed as trainable and are in the optimizer.
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

ROWS = numpy.random.default_rng(0).normal(size=(16, 3)).astype("float32")
TARGETS = ROWS @ numpy.array([[3.0, 0.0], [0.0, 3.0], [1.0, 1.0]], "float32")


def made(lora):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    if lora:
        model.layers[0].enable_lora(1)
    return model


def fitted(model):
    model.compile(keras.optimizers.Adam(0.05), "mse")
    return model.fit(ROWS, TARGETS, epochs=30, verbose=0).history["loss"][-1]


def continued():
    model = made(lora=True)
    fitted(model)
    model.save("model.keras")
    loaded = keras.models.load_model("model.keras")
    assert numpy.allclose(model.predict(ROWS, verbose=0), loaded.predict(ROWS, verbose=0), atol=1e-6)
    return loaded


def weights_after_lora():
    model = made(lora=True)
    model.load_weights("plain.weights.h5")
    return model


def weights_before_lora():
    model = made(lora=False)
    model.load_weights("plain.weights.h5")
    model.layers[0].enable_lora(1)
    return model


keras.utils.set_random_seed(0)
made(lora=False).save_weights("plain.weights.h5")
seen = {}
for make in (continued, weights_after_lora, weights_before_lora):
    model = make()
    names = [weight.name for weight in model.trainable_weights]
    loss = fitted(model)
    moved = {weight.name: bool(keras.ops.any(weight.value != 0)) for weight in model.trainable_weights}
    seen[make.__name__] = (names, moved)
    print(f"{make.__name__}: trainable {names}; loss {loss:.3f}; not zero after fitting: {moved}")
names = ["bias", "lora_kernel_a", "lora_kernel_b"]
dead, alive = dict(zip(names, (True, False, False))), dict.fromkeys(names, True)
sys.exit(None if list(seen.values()) == [(names, dead), (names, dead), (names, alive)] else "the behaviour has changed")
PY
