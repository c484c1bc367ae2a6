#!/usr/bin/env bash
# Library:   tensorboardX 2.6.5, SummaryWriter.add_scalar
# Behaviour: what is not a letter, a digit or one of "-_./" is written as "_", and slashes in front are dropped. Names
#            that then are equal become one series with two values at each step. Python's logging is told at the level
#            INFO, which is not shown unless asked for.
# Seen:      recall<10, recall>10 and recall_10 are one series recall_10 of 0.25, 0.75 and 0.5 at each step, so are
#            lr/head[0] and lr/head(0) as lr/head_0_, /loss and loss as loss
# Hurts:     TensorBoard draws a zigzag of two metrics under a name that was not given, and a value that is read by
#            name, for early stopping or a table, is of either. The documentation's own example is named y=2x.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    numpy==2.4.6 packaging==26.3 protobuf==7.36.2 tensorboardX==2.6.5

venv/bin/python - <<'PY'
import glob
import struct
import sys

from tensorboardX import SummaryWriter
from tensorboardX.proto.event_pb2 import Event

WRITTEN = {
    "recall<10": 0.25,
    "recall>10": 0.75,
    "recall_10": 0.5,
    "lr/head[0]": 1.0,
    "lr/head(0)": 2.0,
    "/loss": 3.0,
    "loss": 4.0,
}


def events(path):
    with open(path, "rb") as file:
        while header := file.read(12):
            (length,) = struct.unpack("<Q", header[:8])
            yield Event.FromString(file.read(length))
            file.read(4)


with SummaryWriter("logs") as writer:
    for step in range(2):
        for name, value in WRITTEN.items():
            writer.add_scalar(name, value, step)

seen = {}
for event in events(glob.glob("logs/events*")[0]):
    for value in event.summary.value:
        seen.setdefault(value.tag, []).append((event.step, value.simple_value))
for name, points in seen.items():
    print(f"{name}: {points}")
recorded = {
    "recall_10": [(step, value) for step in (0, 1) for value in (0.25, 0.75, 0.5)],
    "lr/head_0_": [(step, value) for step in (0, 1) for value in (1.0, 2.0)],
    "loss": [(step, value) for step in (0, 1) for value in (3.0, 4.0)],
}
sys.exit(None if seen == recorded else "the behaviour has changed")
PY
