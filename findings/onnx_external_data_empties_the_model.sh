#!/usr/bin/env bash
# Library:   onnx 1.23.2, save(save_as_external_data=True)
# Behaviour: the weights are taken out of the model in memory and appended to the data file. What is saved from the
#            same model afterwards has no weights, and what lay in the file of that name stays in it for good.
# Seen:      a model of one 64 x 64 weight, saved with its data outside, then as one file elsewhere: the second file has
#            fewer than 200 bytes, of 16,384, and cannot be loaded
#            exporting a new model to the same two names three times: the data file has 16,384, 32,768, 49,152 bytes
# Hurts:     a checkpoint that is exported in two forms, or evaluated after the export, has lost its weights; a file
#            that is exported anew at each evaluation grows by a model each time.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    ml_dtypes==0.6.0 numpy==2.4.6 onnx==1.23.2 protobuf==7.36.2 typing_extensions==4.16.0

venv/bin/python - <<'PY'
import os
import sys

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper


def linear():
    weight = numpy_helper.from_array(numpy.ones((64, 64), numpy.float32), "weight")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in "xy"]
    product = helper.make_node("MatMul", ["x", "weight"], ["y"])
    return helper.make_model(helper.make_graph([product], "linear", ends[:1], ends[1:], [weight]))


def save_outside(model, folder):
    os.makedirs(folder, exist_ok=True)
    onnx.save(model, f"{folder}/model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    return os.path.getsize(f"{folder}/weights.bin")


model = linear()
save_outside(model, "first")
os.makedirs("second")
onnx.save(model, "second/model.onnx")
size = os.path.getsize("second/model.onnx")
try:
    onnx.load("second/model.onnx")
    error = None
except onnx.checker.ValidationError as raised:
    error = type(raised).__name__
print("one file, saved after the two:", size, "bytes;", error)
sizes = [save_outside(linear(), "again") for _ in range(3)]
print("data of the same model, saved three times:", sizes)
same = size < 200 and error == "ValidationError" and sizes == [16384, 32768, 49152]
sys.exit(None if same else "the behaviour has changed")
PY
