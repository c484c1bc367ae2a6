#!/usr/bin/env bash
# Library:   accelerate 1.15.0, Accelerator.log with the tracker "tensorboard" (tensorboardX 2.6.5), torch 2.13.0
# Behaviour: the tracker writes values that are int, float, str or dict, and passes over all others without a word.
#            Among them are NumPy's float32 and tensors of one dimension, also those with a single element. The
#            tracker of MLflow drops the same values, and warns.
# Seen:      of one log call, the float, NumPy's float64 and the tensor without dimensions are written; NumPy's float32
#            and the tensor of shape (1,) are not in the file, and nothing is said on any level of the log
# Hurts:     the mean of a float32 array is a float32, and gather() of a loss has a dimension for the processes, so a
#            curve is seen on one process or for one metric and missing on several, or for the next.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps accelerate==1.15.0 tensorboardX==2.6.5
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    huggingface_hub==2.4.0 numpy==2.4.6 packaging==26.3 protobuf==7.36.2 psutil==7.2.2 pyyaml==6.0.3 safetensors==0.8.0

venv/bin/python - <<'PY'
import contextlib
import io
import logging
import struct
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from tensorboardX.proto.event_pb2 import Event

VALUES = {
    "float": 0.5,
    "numpy_float64": np.ones(3).mean(),
    "numpy_float32": np.ones(3, dtype=np.float32).mean(),
    "tensor_0d": torch.tensor(0.5),
    "tensor_1d": torch.tensor([0.5]),
}


def written(folder):
    for path in Path(folder).rglob("events*"):
        rest = path.read_bytes()
        while rest:  # a record: its length, a checksum of that, the event, its checksum
            (length,) = struct.unpack("<Q", rest[:8])
            yield from (value.tag for value in Event.FromString(rest[12 : 12 + length]).summary.value)
            rest = rest[16 + length :]


accelerator = Accelerator(log_with="tensorboard", project_dir="logs", cpu=True)
accelerator.init_trackers("run")
said = io.StringIO()
logging.basicConfig(stream=said, level=logging.INFO)
with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said), warnings.catch_warnings():
    warnings.simplefilter("always")
    accelerator.log(VALUES, step=1)
accelerator.end_training()
tags = set(written("logs"))
for name in VALUES:
    print(f"{name}: {'written' if name in tags else 'missing'}")
print("said:", repr(said.getvalue()))
same = tags & set(VALUES) == {"float", "numpy_float64", "tensor_0d"} and not said.getvalue()
sys.exit(None if same else "the behaviour has changed")
PY
