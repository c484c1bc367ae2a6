#!/usr/bin/env bash
# Library:   keras 3.15.1, SpectralNormalization, with the backend torch 2.13.0
# Behaviour: the wrapper divides the kernel by an estimate of its largest singular value and writes the result into the
#            layer, at each call in training. It asks for training, not for trainable, so the kernel of a frozen layer
#            is rewritten too. BatchNormalization, for which a frozen layer is one in inference, stands still.
# Seen:      SpectralNormalization(Dense(1)) with the kernel 2, 0, frozen; a head is fitted for one step. The model
#            lists the kernel among its non-trainable weights; it is 1, 0 afterwards. A frozen BatchNormalization beside
#            it keeps all four of its weights.
# Hurts:     the features under a head change while it is fitted, at the first batch most of all. Features that were
#            computed before, by predict(), are not those of training.
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

spectral = keras.layers.SpectralNormalization(keras.layers.Dense(1, use_bias=False))
norm = keras.layers.BatchNormalization()
model = keras.Sequential([keras.Input((2,)), spectral, norm, keras.layers.Dense(1)])
spectral.layer.set_weights([numpy.array([[2.0], [0.0]])])
spectral.trainable = norm.trainable = False
model.compile("sgd", "mse")


def weights():
    return [keras.ops.convert_to_numpy(weight).ravel().round(4).tolist() for weight in (spectral.kernel, *norm.weights)]


rows = numpy.ones((4, 2), "float32")
before = weights()
model.fit(rows, numpy.ones((4, 1), "float32"), batch_size=4, epochs=1, verbose=0)
after = weights()
trainable = [weight.path for weight in model.trainable_weights]
listed = any(weight is spectral.kernel for weight in model.non_trainable_weights)
print("trainable:", trainable, "- the kernel is listed as not trainable:", listed)
print("kernel:", before[0], "->", after[0])
print("batch norm:", before[1:], "->", after[1:])
same = listed and len(trainable) == 2 and (before[0], after[0]) == ([2.0, 0.0], [1.0, 0.0]) and before[1:] == after[1:]
sys.exit(None if same else "the behaviour has changed")
PY
