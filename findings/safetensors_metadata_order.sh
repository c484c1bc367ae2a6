#!/usr/bin/env bash
# Library:   safetensors 0.8.0
# Behaviour: the header of a file writes its metadata in an order that changes from call to call. The same
#            tensors with the same metadata of several keys give other bytes each time, within one process too.
# Seen:      six keys, 20 calls: 20 different SHA-256 sums (two keys: 2 sums); one key: one sum
# Hurts:     weights cannot be compared by the hash of the file, and a store that is addressed by content keeps
#            the same checkpoint many times, unless the metadata has one key at most.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet numpy==2.4.6 safetensors==0.8.0

venv/bin/python - <<'PY'
import hashlib
import sys

import numpy
from safetensors.numpy import save


def sums(keys):
    metadata = {f"key{number}": "value" for number in range(keys)}
    files = [save({"weight": numpy.zeros(4)}, metadata=metadata) for _ in range(20)]
    return len({hashlib.sha256(file).hexdigest() for file in files})


seen = {keys: sums(keys) for keys in (1, 2, 6)}
print("keys of metadata: different sums in 20 calls:", seen)
sys.exit(None if seen[1] == 1 and seen[6] > 1 else "the behaviour has changed")
PY
