#!/usr/bin/env bash
# Library:   torch 2.13.0, torch.onnx.export(dynamo=True) with onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0
# Behaviour: len(x) in a forward is traced as the length of the example. With a derived dimension, 2 * Dim("batch"),
#            the model keeps its dynamic input and has that constant inside; torch.export.export refuses the same
#            model, as its code made a constant of a dynamic dimension. With x.shape[0] for len(x) both are right.
# Seen:      x[:len(x) // 2], exported with 8 rows: the input is declared as ["2*batch", 1], and 4, 8, 16 rows all give
#            4 rows; with x.shape[0] they give 2, 4 and 8
# Hurts:     models over pairs halve their batch (anchors and positives). The exported file takes any even batch and
#            answers for other rows than the model does; a check with the batch of the example finds nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0 \
    ml_dtypes==0.6.0 numpy==2.4.6 onnx==1.23.2 onnx_ir==1.1.0 onnxruntime==1.32.0 onnxscript==0.7.2 protobuf==7.36.2

venv/bin/python -W ignore - 2>errors <<'PY' || { cat errors >&2; exit 1; }
import sys

import onnxruntime
import torch


class ByLen(torch.nn.Module):
    def forward(self, x):
        return x[: len(x) // 2]


class ByShape(torch.nn.Module):
    def forward(self, x):
        return x[: x.shape[0] // 2]


def exported(model):
    dims = ({0: 2 * torch.export.Dim("batch", min=1, max=64)},)
    torch.onnx.export(model, (torch.zeros(8, 1),), "model.onnx", dynamo=True, dynamic_shapes=dims, verbose=False)
    session = onnxruntime.InferenceSession("model.onnx")
    (declared,) = session.get_inputs()
    rows = [len(session.run(None, {declared.name: torch.zeros(n, 1).numpy()})[0]) for n in (4, 8, 16)]
    return declared.shape, rows


def refused(model):
    try:
        dims = ({0: 2 * torch.export.Dim("batch", min=1, max=64)},)
        torch.export.export(model, (torch.zeros(8, 1),), dynamic_shapes=dims)
    except Exception as error:
        return "specialized it to be a constant" in str(error)
    return False


seen = {kind.__name__: (*exported(kind().eval()), refused(kind().eval())) for kind in (ByLen, ByShape)}
for name, (declared, rows, refusal) in seen.items():
    print(f"{name}: input {declared}, rows for 4, 8, 16: {rows}, refused by torch.export.export: {refusal}")
same = seen == {
    "ByLen": (["2*batch", 1], [4, 4, 4], True),
    "ByShape": (["2*batch", 1], [2, 4, 8], False),
}
sys.exit(None if same else "the behaviour has changed")
PY
