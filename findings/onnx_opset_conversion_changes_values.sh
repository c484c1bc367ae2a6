#!/usr/bin/env bash
# Library:   onnx 1.23.2, version_converter.convert_version with onnxruntime 1.32.0
# Behaviour: Resize of opset 10 samples from the corner of a pixel and Resize of opset 11 from its middle unless it is
#            told otherwise; Hardmax of opset 12 takes the greatest of all flattened dimensions and that of opset 13 of
#            one. The converter rewrites neither (Softmax, whose meaning changed alike, it does), and reports nothing.
# Seen:      linear Resize by 2 of 0 1 2 3: 0 0.5 1 1.5 2 2.5 3 3 at opsets 9 (Upsample) and 10;
#            0 0.25 0.75 1.25 1.75 2.25 2.75 3 once converted to opset 11
#            Hardmax(axis=1) of a tensor of 2 x 3 x 4: 2 ones at opset 12, 8 at opset 13; Softmax keeps its values
# Hurts:     a fine-tuned segmentation model, lifted to the opset that a quantiser or runtime asks for, passes the
#            checker, has the same shapes and other values.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    ml_dtypes==0.6.0 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 protobuf==7.36.2 typing_extensions==4.16.0

venv/bin/python - <<'PY'
import sys

import numpy
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper, version_converter


def model(op, opset, shape, scales=None, **attributes):
    sizes = {"x": shape, "y": [f"size{axis}" for axis in range(len(shape))]}
    weights = [] if scales is None else [numpy_helper.from_array(numpy.array(scales, numpy.float32), "scales")]
    node = helper.make_node(op, ["x", *(weight.name for weight in weights)], ["y"], **attributes)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in sizes.items()]
    graph = helper.make_graph([node], "graph", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(model, x):
    checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def both(old, target, x):
    return run(old, x), run(version_converter.convert_version(old, target), x)


row = numpy.arange(4, dtype=numpy.float32).reshape(1, 1, 1, 4)
block = numpy.random.default_rng(0).normal(size=(2, 3, 4)).astype(numpy.float32)
twice = {"shape": row.shape, "scales": [1, 1, 1, 2], "mode": "linear"}
resized = both(model("Resize", 10, **twice), 11, row)
upsampled = both(model("Upsample", 9, **twice), 11, row)
hard = both(model("Hardmax", 12, block.shape, axis=1), 13, block)
soft = both(model("Softmax", 12, block.shape, axis=1), 13, block)
for name, (before, after) in {"Resize 10 to 11": resized, "Upsample 9 to 11": upsampled}.items():
    print(f"{name}: {before.ravel().tolist()} becomes {after.ravel().tolist()}")
print("ones of Hardmax, 12 to 13:", [int(found.sum()) for found in hard])
print("Softmax, 12 to 13, same values:", numpy.allclose(*soft))
same = [array.ravel().tolist() for array in resized] == [array.ravel().tolist() for array in upsampled]
same &= resized[0].ravel().tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3]
same &= resized[1].ravel().tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
same &= [int(found.sum()) for found in hard] == [2, 8] and numpy.allclose(*soft)
sys.exit(None if same else "the behaviour has changed")
PY
