#!/usr/bin/env bash
# Library:   keras 3.15.1, Model.save and load_model, with the backend torch 2.13.0
# Behaviour: whether a layer is trainable is part of its own configuration. A model of the functional or sequential kind
#            saves its layers' configurations; a subclass makes its layers anew from its own arguments. A .keras file
#            of a subclass holds every weight, the compilation and the optimizer, and not what was frozen.
# Seen:      a frozen backbone of two weights and a head of two: the functional model has two trainable weights after
#            load_model, the subclass four, and fit() moves its backbone. With SGD nothing is said; with Adam a warning
#            says that the optimizer's variables are skipped because it now has ten and the saved one six.
# Hurts:     a head is fitted on a frozen backbone, saved, loaded and fitted on: the second time the pretrained weights
#            train at the rate of the head. The file is complete, the model predicts the same, it was even compiled.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet keras==3.15.1 numpy==2.4.6

KERAS_BACKEND=torch CUDA_VISIBLE_DEVICES= venv/bin/python - <<'PY' 2> stderr.txt || { cat stderr.txt >&2; exit 1; }
import sys
import warnings

import keras
import numpy

ROWS, TARGETS = numpy.ones((4, 2), "float32"), numpy.full((4, 1), 9.0, "float32")


@keras.saving.register_keras_serializable()
class Network(keras.Model):
    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
        self.backbone, self.head = keras.layers.Dense(units), keras.layers.Dense(1)

    def build(self, shape):
        self.backbone.build(shape)
        self.head.build((None, self.units))
        self.built = True

    def call(self, rows):
        return self.head(self.backbone(rows))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def subclass():
    model = Network(2)
    model.build((None, 2))
    return model, lambda network: network.backbone


def functional():
    rows = keras.Input((2,))
    model = keras.Model(rows, keras.layers.Dense(1)(keras.layers.Dense(2, name="backbone")(rows)))
    return model, lambda network: network.get_layer("backbone")


def saved_and_loaded(build, optimizer):
    model, backbone = build()
    backbone(model).trainable = False
    model.compile(optimizer, "mse")
    model.fit(ROWS, TARGETS, verbose=0)
    model.save("model.keras")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        loaded = keras.models.load_model("model.keras")
    assert (model.predict(ROWS, verbose=0) == loaded.predict(ROWS, verbose=0)).all()
    before = keras.ops.convert_to_numpy(backbone(loaded).kernel).copy()
    loaded.fit(ROWS, TARGETS, verbose=0)
    moved = bool((keras.ops.convert_to_numpy(backbone(loaded).kernel) != before).any())
    numbers = [word for warning in said for word in str(warning.message).split() if word.isdigit()]
    return len(model.trainable_weights), len(loaded.trainable_weights), moved, numbers


cases = [(build, optimizer) for build in (functional, subclass) for optimizer in ("sgd", "adam")]
seen = {(build.__name__, optimizer): saved_and_loaded(build, optimizer) for build, optimizer in cases}
for (kind, optimizer), (before, after, moved, numbers) in seen.items():
    print(f"{kind}, {optimizer}: {before} trainable weights, {after} after loading; backbone moved: {moved}; {numbers}")
kept, thawed = (2, 2, False, []), (2, 4, True, [])
recorded = [kept, kept, thawed, (2, 4, True, ["10", "6"])]
sys.exit(None if list(seen.values()) == recorded else "the behaviour has changed")
PY
